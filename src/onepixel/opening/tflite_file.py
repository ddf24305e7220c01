"""TensorFlow Lite models, asked by their own interpreter (LiteRT), in the sandbox only: its kernels are native code.

No delegate is used and no operation that the file brings itself. A quantised network takes and gives whole numbers;
what they stand for is in the file.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onepixel.classifiers import FunctionClassifier
from onepixel.errors import AnswerError, InputShapeError, ModelFileError, NondeterminismError, UsageError
from onepixel.opening.answers import choose_answer, is_single, settle_outputs, two_classes
from onepixel.opening.limits import Limits, address_space_capped, refusing
from onepixel.opening.preparation import (
    BYTES,
    Dimension,
    ValueRange,
    image_layout,
    in_batches,
    preparation,
    range_for,
)
from onepixel.opening.refusals import TFLITE
from onepixel.opening.request import Request
from onepixel.printable import one_line

WHOLE_TYPES = (np.uint8, np.int8)
BEHIND = {"DEQUANTIZE", "QUANTIZE", "RESHAPE", "SQUEEZE"}
"""Operations that leave answers what they were."""
SAME = {"LOGISTIC": "Sigmoid", "ARG_MAX": "ArgMax", "TOPK_V2": "TopK"}
"""What other formats call an operation."""


def open_tflite(request: Request, limits: Limits) -> FunctionClassifier:
    """Open a TensorFlow Lite model as a classifier.

    Raises
    ------
    UsageError
        If LiteRT is not installed, or the user did not say what the file leaves open.
    ModelFileError
        If the file is damaged, or needs operations that the interpreter does not have by itself.
    UndecidedError
        If its answers cannot be used.
    """
    try:
        from ai_edge_litert import interpreter as litert
        from ai_edge_litert import schema_py_generated as schema
    except ImportError as error:
        raise UsageError(f'TensorFlow Lite models need LiteRT: pip install "onepixel[tflite]". {TFLITE}') from error
    contents = request.read()
    with address_space_capped(limits.memory_bytes), refusing(request.name, "reading it as a TensorFlow Lite model"):
        try:
            graph = Graph(litert, schema, contents)
        except (RuntimeError, ValueError) as error:
            raise ModelFileError(
                f"{request.name} cannot be run by TensorFlow Lite's interpreter: {one_line(error, 200)}. {TFLITE}"
            ) from error
    if len(graph.inputs) != 1:
        raise AnswerError(f"{request.name} takes {len(graph.inputs)} tensors; onepixel needs one batch of images.")
    given = graph.inputs[0]
    declared = [None if size < 0 else int(size) for size in given["shape_signature"]]
    if len(declared) != 4:
        raise InputShapeError(f"{request.name} takes tensors of {len(declared)} dimensions; onepixel needs images.")
    layout = image_layout([None, *declared[1:]], request.input_shape, request.name)
    kind = given["dtype"]
    values, quantised = fed_values(request, given, layout.input_shape[0])
    names = [answer["name"] for answer in graph.outputs]
    telling = [answer["dtype"] in (np.float32, *WHOLE_TYPES) for answer in graph.outputs]
    chosen, which = choose_answer(names, telling, request.output, request.name)
    prepare = preparation(layout, values)

    def answer(tensor: NDArray[np.float32]) -> NDArray[np.floating]:
        with address_space_capped(limits.memory_bytes):
            try:
                return graph.answers(as_type(tensor, kind, quantised), chosen)
            except (RuntimeError, ValueError) as error:
                raise AnswerError(f"{request.name} failed on a batch of images: {one_line(error, 200)}.") from error

    first = in_batches(answer, prepare(np.zeros((2, *layout.input_shape), np.float32)), 1)
    single = is_single(first.shape, 2)
    outputs, said = settle_outputs(request.outputs, graph.last_operation(chosen), request.name, 1 if single else None)
    rounded = graph.outputs[chosen]["dtype"] in WHOLE_TYPES

    def asked(batch: Dimension) -> FunctionClassifier:
        def answers(images: NDArray[np.float32]) -> NDArray[np.floating]:
            told = in_batches(answer, prepare(images), batch)
            if rounded and outputs == "probabilities" and not single:
                told = told / np.maximum(told.sum(axis=1, keepdims=True), 1e-3)
            return two_classes(told, outputs) if single else told

        return FunctionClassifier(answers, layout.input_shape, outputs, request.name)

    batches = ""
    try:
        classifier = asked(None)
    except (AnswerError, NondeterminismError, InputShapeError):
        classifier, batches = asked(1), "Images are asked one at a time, as the network takes them."
    step = graph.outputs[chosen]["quantization"][0]
    sentences = (
        "TensorFlow Lite's own interpreter (LiteRT) answers every image, without delegates.",
        layout.sentence,
        values.sentence,
        which,
        said,
        f"Answers are rounded to steps of {step:.3g}, as the network was quantised." if rounded else "",
        batches,
    )
    classifier.range_unsure = values.unsure
    classifier.assumptions = tuple(sentence for sentence in sentences if sentence)
    return classifier


def fed_values(request: Request, given: dict[str, Any], channels: int) -> tuple[ValueRange, tuple[float, int] | None]:
    """How an image in [0, 1] becomes what the network takes, and scale and zero point where that is then quantised.

    Raises
    ------
    AnswerError
        If it takes something that is no image.
    UsageError
        If the user has to say it.
    """
    kind, (scale, zero) = given["dtype"], given["quantization"]
    if kind is np.float32:
        return range_for(request, None, channels), None
    if kind not in WHOLE_TYPES:
        raise AnswerError(f"{request.name} takes {one_line(np.dtype(kind).name)}, which is no image type.")
    if scale > 0 and (request.normalize not in (None, "none") or request.pixel_range not in (None, (0.0, 255.0))):
        values = range_for(request, None, channels)
        return values, (float(scale), int(zero))
    if kind is np.uint8:
        return range_for(request, BYTES, channels), None
    return ValueRange(
        mean=(128 / 255,),
        std=(1 / 255,),
        whole=True,
        sentence="The network sees whole numbers from -128 to 127, as its input type says.",
    ), None


def as_type(tensor: NDArray[np.float32], kind: Any, quantised: tuple[float, int] | None) -> NDArray[Any]:
    """A tensor in the type that the network takes."""
    if kind is np.float32:
        return tensor
    if quantised is not None:
        scale, zero = quantised
        tensor = np.rint(tensor / scale + zero)
    least, most = np.iinfo(kind).min, np.iinfo(kind).max
    return np.clip(tensor, least, most).astype(kind)


class Graph:
    """A network in LiteRT's interpreter.

    Parameters
    ----------
    litert, schema : module
    contents : bytes

    Attributes
    ----------
    inputs, outputs : list of dict
        LiteRT's details of each.

    Raises
    ------
    RuntimeError, ValueError
        If it is no such network, or needs operations that LiteRT does not have by itself.
    """

    def __init__(self, litert: Any, schema: Any, contents: bytes) -> None:
        self.schema, self.contents = schema, contents
        self.interpreter = litert.Interpreter(
            model_content=contents,
            num_threads=1,
            experimental_op_resolver_type=litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        self.inputs = self.interpreter.get_input_details()
        self.outputs = self.interpreter.get_output_details()
        self.interpreter.allocate_tensors()
        self.shape = tuple(int(size) for size in self.inputs[0]["shape"]) if self.inputs else ()

    def answers(self, tensor: NDArray[Any], chosen: int) -> NDArray[np.floating]:
        """The chosen answer to a batch, as fractions."""
        place = self.inputs[0]["index"]
        if tensor.shape != self.shape:
            self.shape = ()  # until the new one holds
            self.interpreter.resize_tensor_input(place, list(tensor.shape))
            self.interpreter.allocate_tensors()
            self.shape = tensor.shape
        self.interpreter.set_tensor(place, tensor)
        self.interpreter.invoke()
        details = self.outputs[chosen]
        told: NDArray[Any] = self.interpreter.get_tensor(details["index"])
        if details["dtype"] in WHOLE_TYPES:
            scale, zero = details["quantization"]
            told = (told.astype(np.float32) - zero) * (scale or 1.0)
        return np.asarray(told, dtype=np.float32)

    def last_operation(self, chosen: int) -> str:
        """The operation that makes an answer, under the name that other formats have for it; "" if it is not told."""
        names = {number: name for name, number in vars(self.schema.BuiltinOperator).items() if isinstance(number, int)}
        model = self.schema.Model.GetRootAs(self.contents)
        graph = model.Subgraphs(0)
        wanted = self.outputs[chosen]["index"]
        for number in reversed(range(graph.OperatorsLength())):
            operation = graph.Operators(number)
            if wanted not in [operation.Outputs(place) for place in range(operation.OutputsLength())]:
                continue
            code = model.OperatorCodes(operation.OpcodeIndex())
            name = str(names.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()), ""))
            if name not in BEHIND or not operation.InputsLength():
                return SAME.get(name, name)
            wanted = operation.Inputs(0)
        return ""
