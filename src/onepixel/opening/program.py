"""TorchScript archives and `torch.export` programs; called inside the sandboxed child only.

PyTorch has no safe mode for either: TorchScript is a language that can loop and allocate, and loading an exported
program may unpickle and evaluates expressions.
"""

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from onepixel.classifiers import ModuleClassifier
from onepixel.errors import AnswerError, OnepixelError, UsageError
from onepixel.opening.answers import require_single_answer, settle_outputs
from onepixel.opening.limits import refusing
from onepixel.opening.preparation import Dimension, Layout, image_layout, value_range
from onepixel.opening.recognise import Format
from onepixel.opening.request import Request
from onepixel.printable import one_line


class Adapted(nn.Module):
    """A program that takes another layout or one batch size only, as a module of (N, C, H, W)."""

    def __init__(self, program: nn.Module, layout: Layout) -> None:
        super().__init__()
        self.program = program
        self.layout = layout

    def forward(self, images: Tensor) -> Tensor:
        """Answers (N, K) of images (N, C, H, W)."""
        seen = images.permute(0, 2, 3, 1) if self.layout.channels_last else images
        batch = self.layout.batch
        if batch is None:
            answers: Tensor = self.program(seen)
            return answers
        rows = []
        for chunk in torch.split(seen, batch):
            filled = torch.cat([chunk, chunk[:1].expand(batch - len(chunk), *chunk.shape[1:])])
            rows.append(self.program(filled.contiguous())[: len(chunk)])
        return torch.cat(rows)


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
            said = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
            shape = tuple(images.shape)
            raise AnswerError(f"{self.name} failed on images of shape {shape}: {one_line(said[-1])}") from error


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
        program, declared, last = (
            load_torchscript(request) if request.format is Format.TORCHSCRIPT else load_exported(request)
        )
    if declared is None and request.input_shape is None:
        raise UsageError(
            f"{request.name} does not say which images it takes; say --input-shape (input_shape=(C, H, W))."
        )
    layout = image_layout(declared or (None, None, None, None), request.input_shape, request.name)
    values = value_range(request.normalize, None, layout.input_shape[0], request.name)
    outputs, kind = settle_outputs(request.outputs, last, request.name)
    plain = layout.batch is None and not layout.channels_last
    module = program if plain else Adapted(program, layout)
    normalize = None if values.identity else (values.mean, values.std)
    classifier = ProgramClassifier(module, layout.input_shape, outputs, normalize, request.name)
    classifier.assumptions = (layout.sentence, values.sentence, kind)
    return classifier


Loaded = tuple[nn.Module, tuple[Dimension, ...] | None, str]
"""A program, the shape it declares for its images, and its last operation or ""."""


def load_torchscript(request: Request) -> Loaded:
    """Load an archive; TorchScript declares no shapes."""
    program: nn.Module = torch.jit.load(request.path, map_location="cpu")
    program.eval()
    graph: Any = program.inlined_graph
    results = list(graph.outputs())
    require_single_answer(results, request.name)
    return program, None, results[0].node().kind().rpartition("::")[2]


def load_exported(request: Request) -> Loaded:
    """Load an exported program, which declares its shapes; open sizes are symbols."""
    exported = torch.export.load(request.path)
    taken, given = exported.graph_signature.user_inputs, exported.graph_signature.user_outputs
    require_single_answer(given, request.name)
    if len(taken) != 1:
        raise AnswerError(f"{request.name} takes {len(taken)} tensors; onepixel needs exactly one batch of images.")
    nodes = {node.name: node for node in exported.graph.nodes}
    shape = nodes[str(taken[0])].meta["val"].shape
    declared = tuple(size if isinstance(size, int) else None for size in shape)
    target: Any = nodes[str(given[0])].target
    last = target._schema.name.rpartition("::")[2] if hasattr(target, "_schema") else ""
    program = exported.module()
    # An exported program is fixed in the mode it was exported in, and refuses eval().
    for part in program.modules():
        part.training = False
    return program, declared, last
