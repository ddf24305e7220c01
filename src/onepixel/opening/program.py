"""TorchScript archives and `torch.export` programs; called inside the sandboxed child only.

PyTorch has no safe mode for either: TorchScript is a language that can loop and allocate, and loading an exported
program may unpickle and evaluates expressions.
"""

import io
import warnings
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from onepixel.classifiers import ModuleClassifier
from onepixel.classifiers.base import Outputs
from onepixel.errors import AnswerError, NondeterminismError, OnepixelError, UsageError
from onepixel.opening.answers import choose_answer, is_single, settle_outputs, two_classes
from onepixel.opening.exported_graph import NotPlainError, read_exported_graph
from onepixel.opening.limits import refusing
from onepixel.opening.preparation import Dimension, Layout, image_layout, range_for
from onepixel.opening.recognise import Format
from onepixel.opening.request import Request
from onepixel.printable import one_line
from onepixel.starting import import_meta_functions


@dataclass(frozen=True)
class Manner:
    """How a program is asked.

    Attributes
    ----------
    layout : Layout
    kind : torch.dtype
        The type of its images.
    answer : int or None
        Which of several answers is read; None for a program that gives one tensor.
    outputs : {"logits", "probabilities"}
    single : bool
        Whether it answers one number per image, which becomes two classes.
    maps : bool
        Whether it answers with maps of one position, (N, K, 1, 1), as a network that ends in a convolution.
    """

    layout: Layout
    kind: torch.dtype = torch.float32
    answer: int | None = None
    outputs: Outputs = "logits"
    single: bool = False
    maps: bool = False

    @property
    def plain(self) -> bool:
        """Whether nothing has to be done to its images and answers."""
        layout = self.layout
        usual = layout.batch is None and not layout.channels_last and layout.taken is None
        return usual and self == Manner(layout, outputs=self.outputs)


class Adapted(nn.Module):
    """A program that is asked in its own manner, as a module from (N, C, H, W) to (N, K), float32."""

    def __init__(self, program: nn.Module, manner: Manner) -> None:
        super().__init__()
        # Classifiers look at the first parameter for the type of their images; the program's own may be of 16 bits.
        self.kind = nn.Parameter(torch.zeros(()), requires_grad=False)
        self.program = program
        self.manner = manner
        self.told_maps = False

    def forward(self, images: Tensor) -> Tensor:
        """Answers (N, K) of images (N, C, H, W)."""
        seen = images.permute(0, 2, 3, 1) if self.manner.layout.channels_last else images
        if self.manner.layout.taken is not None:
            seen = images.flatten(1).unflatten(1, self.manner.layout.taken)
        seen = seen.to(self.manner.kind)
        batch = self.manner.layout.batch
        if batch is None:
            return self.read(self.program(seen))
        rows = []
        for chunk in torch.split(seen, batch):
            filled = torch.cat([chunk, chunk[:1].expand(batch - len(chunk), *chunk.shape[1:])])
            rows.append(self.read(self.program(filled.contiguous()))[: len(chunk)])
        return torch.cat(rows)

    def read(self, answers: Any) -> Tensor:
        """The distribution in what the program answers."""
        if self.manner.answer is not None:
            answers = list(answers.values() if isinstance(answers, dict) else answers)[self.manner.answer]
        if not isinstance(answers, Tensor):
            raise AnswerError(f"The program answers with a {type(answers).__name__}, not with one tensor (N, K).")
        answers = answers.float()
        if answers.ndim > 2 and set(answers.shape[2:]) == {1}:
            self.told_maps = True
            answers = answers.flatten(1)
        told: Tensor = two_classes(answers, self.manner.outputs) if self.manner.single else answers
        return told


class ProgramClassifier(ModuleClassifier):
    """A program as a classifier; what it fails with is told by the last line, after TorchScript's own traceback."""

    def __call__(self, images: Tensor) -> Tensor:
        """Answer images (N, C, H, W) with (N, K).

        Raises
        ------
        AnswerError
            If the program fails, or takes more memory than it may.
        """
        try:
            return super().__call__(images)
        except OnepixelError:
            raise
        except Exception as error:
            shape = tuple(images.shape)
            raise AnswerError(f"{self.name} failed on images of shape {shape}: {last_line(error)}") from error


def open_program(request: Request) -> ModuleClassifier:
    """Open a TorchScript archive or an exported program as a classifier.

    Raises
    ------
    UsageError
        If the user did not say what the program leaves open.
    ModelFileError
        If it is damaged.
    UndecidedError
        If its answers cannot be used.
    """
    with warnings.catch_warnings(), refusing(request.name, f"loading it as a {request.format.value}"):
        warnings.simplefilter("ignore")
        loaded = load_torchscript(request) if request.format is Format.TORCHSCRIPT else load_exported(request)
    declared = loaded.declared
    if declared is None and request.input_shape is None:
        raise UsageError(
            f"{request.name} does not say which images it takes; say --input-shape (input_shape=(C, H, W))."
        )
    layout = image_layout(declared or (None, None, None, None), request.input_shape, request.name)
    values = range_for(request, None, layout.input_shape[0])
    manner = Manner(layout, loaded.kind, loaded.answer)
    single, maps = answers_once(loaded.program, manner, request.name)
    manner = replace(manner, single=single, maps=maps)
    outputs, kind = settle_outputs(request.outputs, loaded.last, request.name, 1 if manner.single else None)
    manner = replace(manner, outputs=outputs)
    normalize = None if values.identity else (values.mean, values.std)

    def asked(manner: Manner) -> ModuleClassifier:
        module = loaded.program if manner.plain else Adapted(loaded.program, manner)
        # An exported program is fixed in the mode it was exported in, and refuses eval().
        for part in module.modules():
            part.training = False
        return ProgramClassifier(module, layout.input_shape, outputs, normalize, request.name)

    batches = ""
    try:
        classifier = asked(manner)
    except NondeterminismError:
        if layout.batch is not None:
            raise
        classifier = asked(replace(manner, layout=replace(layout, batch=1)))
        batches = "Images are asked one at a time, since the answer to one depends on the others in its batch."
    width = f"The program computes with numbers of {8 * loaded.kind.itemsize} bits." if loaded.kind.itemsize < 4 else ""
    said = (layout.sentence, values.sentence, width, loaded.which, kind, batches)
    classifier.range_unsure = values.unsure
    classifier.assumptions = tuple(sentence for sentence in said if sentence)
    return classifier


def answers_once(program: nn.Module, manner: Manner, name: str) -> tuple[bool, bool]:
    """Whether a program answers an image with a single number, and whether with maps of one position.

    Raises
    ------
    AnswerError
        If it fails.
    """
    images = torch.zeros(2, *manner.layout.input_shape)
    module = Adapted(program, manner)
    try:
        with torch.inference_mode():
            return is_single(module(images).shape, len(images)), module.told_maps
    except OnepixelError:
        raise
    except Exception as error:
        raise AnswerError(f"{name} failed on images of shape {tuple(images.shape)}: {last_line(error)}") from error


def last_line(error: Exception) -> str:
    """What is said after TorchScript's own traceback."""
    said = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return one_line(said[-1])


@dataclass(frozen=True)
class Program:
    """A program that was loaded.

    Attributes
    ----------
    program : torch.nn.Module
    declared : tuple or None
        The shape it declares for its images.
    last : str
        Its last operation, or "".
    kind : torch.dtype
        The type of its images.
    answer : int or None
        Which of several answers is read.
    which : str
        The sentence about that.
    """

    program: nn.Module
    declared: tuple[Dimension, ...] | None
    last: str
    kind: torch.dtype = torch.float32
    answer: int | None = None
    which: str = ""


def image_kind(program: nn.Module) -> torch.dtype:
    """The type of images that a program takes, if it declares none: that of its numbers."""
    kinds = [tensor.dtype for tensor in (*program.parameters(), *program.buffers()) if tensor.is_floating_point()]
    return kinds[0] if kinds else torch.float32


def file_of(request: Request) -> str | io.BytesIO:
    """Where a program is read from."""
    return request.path if request.contents is None else io.BytesIO(request.contents)


def load_torchscript(request: Request) -> Program:
    """Load an archive; TorchScript declares no shapes."""
    program: nn.Module = torch.jit.load(file_of(request), map_location="cpu")
    program.eval()
    graph: Any = program.inlined_graph
    node = next(iter(graph.outputs())).node()
    parts = list(node.inputs())
    if node.kind() in ("prim::TupleConstruct", "prim::ListConstruct"):
        names = [str(number) for number in range(len(parts))]
    elif node.kind() == "prim::DictConstruct":
        names, parts = [str(name.toIValue()) for name in parts[::2]], parts[1::2]
    else:
        return Program(program, None, node.kind().rpartition("::")[2], image_kind(program))
    chosen, which = choose_answer(names, [True] * len(parts), request.output, request.name)
    last = parts[chosen].node().kind().rpartition("::")[2]
    return Program(program, None, last, image_kind(program), chosen, which)


def load_exported(request: Request) -> Program:
    """Load an exported program, which declares its shapes; open sizes are symbols."""
    try:
        graph = read_exported_graph(file_of(request))
    except NotPlainError:
        return load_compiled(request)
    chosen, which = choose_answer(list(graph.answers), list(graph.fractions), request.output, request.name)
    several = chosen if len(graph.answers) > 1 else None
    return Program(graph.module, graph.declared, graph.made_by[chosen], graph.kind, several, which)


def load_compiled(request: Request) -> Program:
    """The same by torch's own reader, with its compilers."""
    import_meta_functions()
    exported = torch.export.load(file_of(request))
    taken, given = exported.graph_signature.user_inputs, exported.graph_signature.user_outputs
    if len(taken) != 1:
        raise AnswerError(f"{request.name} takes {len(taken)} tensors; onepixel needs exactly one batch of images.")
    nodes = {node.name: node for node in exported.graph.nodes}
    images: Any = nodes[str(taken[0])].meta["val"]
    declared = tuple(size if isinstance(size, int) else None for size in images.shape)
    fractions = [nodes[str(name)].meta["val"].is_floating_point() if str(name) in nodes else False for name in given]
    chosen, which = choose_answer(list(map(str, given)), fractions, request.output, request.name)
    target: Any = nodes[str(given[chosen])].target
    last = target._schema.name.rpartition("::")[2] if hasattr(target, "_schema") else ""
    several = None if exported.call_spec.out_spec is None or exported.call_spec.out_spec.is_leaf() else chosen
    return Program(exported.module(), declared, last, images.dtype, several, which)
