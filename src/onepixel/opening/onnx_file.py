"""ONNX files through ONNX Runtime: checked as data first, then run on the processor, and judged by its answers alone.

Nothing in an ONNX file is Python, but a graph can name files to read, loop for ever and expand without end.
So the file is parsed as plain data, what it names is read by us and from its own folder only, and ONNX Runtime
gets one self-contained block of bytes and never a path. Where the graph can also become a torch module, the incremental
engine looks into that; ONNX Runtime remains the judge of every run.
"""

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from onepixel.classifiers import FunctionClassifier, ModuleClassifier, Normalize
from onepixel.classifiers.base import Outputs, probe_images
from onepixel.errors import AnswerError, ModelFileError, NondeterminismError
from onepixel.opening.answers import RANKING_OPERATIONS, choose_answer, is_single, settle_outputs, two_classes
from onepixel.opening.limits import Limits, address_space_capped, refusing
from onepixel.opening.onnx_graph import graph_module
from onepixel.opening.onnx_module import NotConvertibleError
from onepixel.opening.onnx_session import onnx_packages, run_session, start_session
from onepixel.opening.preparation import (
    BYTES,
    FROM_0_TO_1,
    FROM_0_TO_255,
    FROM_MINUS_1_TO_1,
    Dimension,
    Layout,
    ValueRange,
    image_layout,
    in_batches,
    preparation,
    range_for,
)
from onepixel.opening.request import Request
from onepixel.printable import one_line

MOST_NODES = 200_000
LOOPS = {"Loop", "Scan", "SequenceMap"}
PASSING_OPERATIONS = {"Identity", "Cast", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "DequantizeLinear"}
FRACTIONS = {"tensor(float)", "tensor(double)", "tensor(float16)", "tensor(bfloat16)"}
PIXEL_RANGES = {
    "NominalRange_0_255": FROM_0_TO_255,
    "Normalized_0_1": FROM_0_TO_1,
    "Normalized_1_1": FROM_MINUS_1_TO_1,
}
"""Values of the metadata entry Image.NominalPixelRange (ONNX, MetadataProps)."""

PROBABILITY_TOLERANCE, LOGIT_TOLERANCE = 1e-5, 2e-5
"""How far a torch module may be from ONNX Runtime; for logits relative to 1 + the largest."""

ELEMENT_TYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}


def open_onnx(request: Request, limits: Limits, *, sandboxed: bool = False) -> "FunctionClassifier | RuntimeJudged":
    """Open an ONNX file as a classifier.

    Raises
    ------
    UsageError
        If onnxruntime is not installed, or the file leaves open what the user did not say.
    ModelFileError
        If the file is damaged, reaches outside its folder, or needs more than its limits.
    UndecidedError
        If its answers cannot be used.
    """
    onnx, onnxruntime = onnx_packages()
    path = Path(request.path)
    with address_space_capped(limits.memory_bytes), refusing(request.name, "reading it as ONNX"):
        with request.open() as file:
            model = onnx.load(file, format="protobuf", load_external_data=False)
        check_graph(model, request.name, loops_allowed=sandboxed)
        inline_external_data(model, path.parent, request.name, limits)
        session = start_session(onnxruntime, model.SerializeToString(), limits, request.name)
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise AnswerError(f"{request.name} takes {len(inputs)} tensors; onepixel needs exactly one batch of images.")
    given = session.get_outputs()
    numbers = [answer.type in FRACTIONS for answer in given]
    chosen, which = choose_answer([answer.name for answer in given], numbers, request.output, request.name)
    element = ELEMENT_TYPES.get(inputs[0].type)
    if element is None:
        raise AnswerError(f"{request.name} takes {one_line(inputs[0].type)}, which is no image type.")
    layout = image_layout(declared_shape(inputs[0].shape), request.input_shape, request.name)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    declared = BYTES if element is np.uint8 else PIXEL_RANGES.get(metadata.get("Image.NominalPixelRange", ""))
    values = range_for(request, declared, layout.input_shape[0])
    prepare, name, wanted = preparation(layout, values), inputs[0].name, given[chosen].name

    def answer(tensor: NDArray[np.float32]) -> NDArray[np.floating]:
        feed = {name: tensor.astype(element, copy=False)}
        told = run_session(onnxruntime, session, wanted, feed, limits, request.name)
        # Networks that end in a convolution answer with maps of one position.
        return told.reshape(told.shape[:2]) if told.ndim > 2 and set(told.shape[2:]) == {1} else told

    operation = last_operation(model, wanted)
    single = False
    if operation.lower() not in RANKING_OPERATIONS:
        first = in_batches(answer, prepare(np.zeros((2, *layout.input_shape), np.float32)), layout.batch)
        single = is_single(first.shape, 2)
    outputs, kind = settle_outputs(request.outputs, operation, request.name, 1 if single else None)

    def answers(images: NDArray[np.float32], batch: Dimension) -> NDArray[np.floating]:
        told = in_batches(answer, prepare(images), batch)
        return two_classes(told, outputs) if single else told

    runtime, batches = asked_alone_where_needed(answers, model, layout, outputs, request.name)
    classifier: FunctionClassifier | RuntimeJudged = runtime
    try:
        if layout.taken is not None:
            raise NotConvertibleError("it takes images in another form than channels, rows and columns")
        if element is not np.float32 or single:
            raise NotConvertibleError(
                "it answers with a single number" if single else "it takes images of another type than float32"
            )
        with address_space_capped(limits.memory_bytes):
            module = graph_module(model, layout, name, wanted)
            classifier, engine = judged(module, runtime, values)
    except NotConvertibleError as error:
        engine = f"ONNX Runtime answers every image; the incremental engine cannot look into the graph: {error}."
    said = (layout.sentence, values.sentence, which, kind, batches, engine)
    classifier.range_unsure = values.unsure
    classifier.assumptions = tuple(sentence for sentence in said if sentence)
    return classifier


def asked_alone_where_needed(
    answers: Callable[[NDArray[np.float32], Dimension], NDArray[np.floating]],
    model: Any,
    layout: Layout,
    outputs: Outputs,
    name: str,
) -> tuple[FunctionClassifier, str]:
    """A classifier that asks in batches, or one image at a time where others in a batch change an image's answer.

    A dynamically quantised graph takes its scales from the whole batch.

    Raises
    ------
    UndecidedError
        If the answers cannot be used either way.
    """
    dynamic = any(node.op_type == "DynamicQuantizeLinear" for node in model.graph.node)

    def asked(batch: Dimension) -> FunctionClassifier:
        return FunctionClassifier(lambda images: answers(images, batch), layout.input_shape, outputs, name)

    if layout.batch is None and not dynamic:
        try:
            return asked(None), ""
        except NondeterminismError:
            dynamic = True
    if layout.batch is not None or not dynamic:
        return asked(layout.batch), ""
    return asked(1), (
        "Images are asked one at a time, since the answer to one depends on the others in its batch "
        "(as in a dynamically quantised network)."
    )


class RuntimeJudged(ModuleClassifier):
    """A graph that became a torch module; its answers are ONNX Runtime's, and the module is for engines to look into.

    Parameters
    ----------
    module : torch.nn.Module
        What the graph became.
    runtime : FunctionClassifier
        The same graph in ONNX Runtime.
    normalize : (mean, std), optional
        What the module wants to see.
    """

    stands_in = True

    def __init__(self, module: nn.Module, runtime: FunctionClassifier, normalize: Normalize | None) -> None:
        self.runtime = runtime
        super().__init__(module, runtime.input_shape, runtime.outputs, normalize, runtime.name)

    def __call__(self, images: Tensor) -> Tensor:
        """Answer images (N, C, H, W) with (N, K), by ONNX Runtime."""
        return self.runtime(images)

    def answers_of_module(self, images: Tensor) -> Tensor:
        """The module's own answers (N, K)."""
        return super().__call__(images)


def judged(module: nn.Module, runtime: FunctionClassifier, values: ValueRange) -> tuple[RuntimeJudged, str]:
    """Let ONNX Runtime judge a module on a few images, and say how far they are apart.

    ONNX Runtime answers first, within its limits of time and memory, so that the module's work is bounded too.

    Raises
    ------
    NotConvertibleError
        If they differ by more than rounding explains.
    """
    classifier = RuntimeJudged(module, runtime, None if values.identity else (values.mean, values.std))
    images = trial_images(runtime.input_shape)
    expected = runtime(images)
    try:
        found = classifier.answers_of_module(images)
    except (RuntimeError, MemoryError) as error:
        raise NotConvertibleError(f"torch cannot compute it ({one_line(error, 120)})") from error
    if found.shape != expected.shape or not bool(torch.isfinite(found).all()):
        raise NotConvertibleError("torch gives other answers than ONNX Runtime")
    difference = float((found - expected).abs().max())
    tolerance = PROBABILITY_TOLERANCE
    if runtime.outputs == "logits":
        tolerance = LOGIT_TOLERANCE * (1 + float(expected.abs().max()))
    if not difference <= tolerance:
        raise NotConvertibleError("torch gives other answers than ONNX Runtime")
    return classifier, (
        f"ONNX Runtime answers; the incremental engine looks into the same graph as a torch module, whose answers to "
        f"{len(images)} images differ from ONNX Runtime's by at most {difference:.1g}."
    )


def trial_images(input_shape: tuple[int, int, int]) -> Tensor:
    """Eight images (8, C, H, W): black, white, two of noise, and four that are black but for one pixel."""
    _, height, width = input_shape
    single = torch.zeros(4, *input_shape)
    for image, (row, column) in zip(single, product((0, height // 2), (width // 2, width - 1)), strict=True):
        image[:, row, column] = 1.0
    return torch.cat([probe_images(input_shape, torch.float32, torch.device("cpu")), single])


def declared_shape(shape: list[Any]) -> list[Dimension]:
    """ONNX Runtime's shape of an input, with None for axes that are open."""
    return [size if isinstance(size, int) and size > 0 else None for size in shape]


def messages(message: Any) -> Iterator[Any]:
    """Every message inside a protocol buffer message, itself first, without looking inside tensors."""
    stack = [message]
    while stack:
        current = stack.pop()
        yield current
        if current.DESCRIPTOR.full_name == "onnx.TensorProto":
            continue
        for field, value in current.ListFields():
            if field.message_type is not None:
                stack.extend(value if hasattr(value, "extend") or hasattr(value, "add") else [value])


def check_graph(model: Any, name: str, *, loops_allowed: bool) -> None:
    """Refuse graphs that could run or expand without end.

    Raises
    ------
    ModelFileError
        If there are too many nodes, once its functions are expanded, or loops outside a sandbox.
    """
    nodes = [message for message in messages(model) if message.DESCRIPTOR.full_name == "onnx.NodeProto"]
    if len(nodes) > MOST_NODES:
        raise ModelFileError(f"{name} has {len(nodes)} operations, more than the {MOST_NODES} that are allowed.")
    looping = sorted({node.op_type for node in nodes} & LOOPS)
    if looping and not loops_allowed:
        raise ModelFileError(
            f"{name} uses {' and '.join(looping)}, which can run for ever; open it with --sandbox "
            '(sandbox="use"), where time is limited.'
        )
    bodies = {
        (function.domain, function.name): Counter(
            (message.domain, message.op_type)
            for message in messages(function)
            if message.DESCRIPTOR.full_name == "onnx.NodeProto"
        )
        for function in model.functions
    }
    sizes: dict[tuple[str, str], int] = {}

    def expanded(key: tuple[str, str], above: tuple[tuple[str, str], ...]) -> int:
        if key not in bodies:
            return 1
        if key in above or len(above) > 64:
            raise ModelFileError(f"{name} defines functions in terms of themselves.")
        if key not in sizes:
            sizes[key] = sum(count * expanded(inner, (*above, key)) for inner, count in bodies[key].items())
        return sizes[key]

    used = (message for message in messages(model.graph) if message.DESCRIPTOR.full_name == "onnx.NodeProto")
    total = sum(expanded((node.domain, node.op_type), ()) for node in used)
    if total > MOST_NODES:
        raise ModelFileError(f"{name} expands to {total} operations, more than the {MOST_NODES} that are allowed.")


def inline_external_data(model: Any, folder: Path, name: str, limits: Limits) -> None:
    """Read weights that the file keeps beside itself into the model, from its own folder only.

    Raises
    ------
    ModelFileError
        If such a file lies outside the folder, is a link, is missing or too short, or all are too large together.
    """
    import onnx

    total = 0
    for message in messages(model):
        if message.DESCRIPTOR.full_name != "onnx.TensorProto":
            continue
        if message.data_location != onnx.TensorProto.EXTERNAL and not message.external_data:
            continue
        entries = {entry.key: entry.value for entry in message.external_data}
        contents = read_beside(folder, entries, name, limits.file_bytes - total)
        total += len(contents)
        message.ClearField("external_data")
        message.data_location = onnx.TensorProto.DEFAULT
        message.raw_data = contents


def read_beside(folder: Path, entries: dict[str, str], name: str, most: int) -> bytes:
    """The bytes that one external-data entry names, at most `most` of them."""
    location = entries.get("location", "")
    parts = PurePosixPath(location).parts
    if not parts or location.startswith("/") or ".." in parts or "\\" in location or "\x00" in location:
        raise ModelFileError(
            f"{name} keeps weights in {one_line(location)!r}, outside its own folder; that is refused."
        )
    target = folder
    for part in parts:
        target = target / part
        if target.is_symlink():
            raise ModelFileError(f"{name} keeps weights in {one_line(location)!r}, which is a link; that is refused.")
    try:
        descriptor = os.open(target, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise ModelFileError(f"{name} keeps weights in {one_line(location)!r}, which is not there.") from error
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode) or about.st_nlink > 1:
            raise ModelFileError(f"{name} keeps weights in {one_line(location)!r}, which is a link or no regular file.")
        offset = int(entries.get("offset", "0"))
        length = int(entries.get("length", about.st_size - offset))
        if offset < 0 or length < 0 or offset + length > about.st_size or length > most:
            raise ModelFileError(f"{name} asks for {length} bytes of {one_line(location)!r}, which does not hold them.")
        file.seek(offset)
        return file.read(length)


def last_operation(model: Any, wanted: str) -> str:
    """The operation that makes an output, looking through those that only pass numbers on."""
    producers = {output: node for node in model.graph.node for output in node.output}
    for _ in range(8):
        node = producers.get(wanted)
        if node is None:
            return ""
        if node.op_type not in PASSING_OPERATIONS or not node.input:
            return str(node.op_type)
        wanted = node.input[0]
    return ""
