"""Exported programs read as data answer as torch's own reader lets them answer; others are left to that."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import onepixel
from onepixel.opening import program
from onepixel.opening.exported_graph import NotPlainError, read_exported_graph
from onepixel.opening.program import open_program
from onepixel.opening.recognise import Format
from onepixel.opening.request import Request
from opening.model_files import network

SHAPE = (3, 8, 8)


class Residual(nn.Module):
    """What trained networks are made of: batch norm, sums, parts put together, a mean over places."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.second = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.last = nn.Linear(16, 4)

    def forward(self, images: Tensor) -> Tensor:
        seen = self.first(images)
        seen = torch.cat([seen + functional.silu(self.second(seen)), seen.chunk(2, dim=1)[0].repeat(1, 2, 1, 1)], dim=1)
        pooled: Tensor = self.last(functional.adaptive_avg_pool2d(seen, 1).flatten(1))
        return pooled


class Sized(nn.Module):
    """Counts with the size of its batch, keeps a constant, and gives two answers."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 64))
        self.register_buffer("order", torch.tensor([2, 0, 1]))
        self.scale = torch.tensor([0.5])

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        rows = images.reshape(images.shape[0] * 3, 64)
        answers = (rows @ self.weight.T * self.scale).view(-1, 3, 3)[:, self.order].amax(1)
        return answers.softmax(1), answers.argmax(1)


class WithoutGradients(nn.Module):
    """A region without gradients, which is exported as a function of a function."""

    def __init__(self) -> None:
        super().__init__()
        self.network = network()

    def forward(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            seen = images * 2
        answers: Tensor = self.network(seen)
        return answers


def write(module: nn.Module, path: Path, shape: tuple[int, ...] = SHAPE) -> Path:
    batch = torch.export.Dim("batch", min=1, max=1 << 20)
    exported = torch.export.export(module.eval(), (torch.zeros(2, *shape),), dynamic_shapes=({0: batch},))
    torch.export.save(exported, path)
    return path


@pytest.mark.parametrize("module", [Residual(), Sized()], ids=["residual", "sized"])
def test_answers_are_those_of_torchs_own_reader(module: nn.Module, tmp_path: Path) -> None:
    path = write(module, tmp_path / "m.pt2")
    found = read_exported_graph(str(path))
    assert (found.declared, found.kind) == ((None, *SHAPE), torch.float32)
    images = torch.rand(5, *SHAPE)
    theirs: Any = torch.export.load(path).module()(images)
    ours = found.module(images)
    pairs = [(ours, theirs)] if isinstance(theirs, Tensor) else list(zip(ours, theirs, strict=True))
    assert all(torch.equal(one, other) for one, other in pairs)
    assert set(dict(found.module.named_parameters())) <= {
        *dict(module.named_parameters()),
        *module.state_dict(),
        "scale",
    }


def test_what_answers_are_is_read_too(tmp_path: Path) -> None:
    found = read_exported_graph(str(write(Sized(), tmp_path / "m.pt2")))
    assert found.fractions == (True, False)
    assert found.made_by == ("softmax", "argmax")


def test_plain_programs_need_no_compiler(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.export, "load", None)
    opened = open_program(Request.make(files["exported"], Format.EXPORTED_PROGRAM, outputs="logits", normalize="none"))
    images = torch.rand(3, 1, 28, 28)
    assert torch.allclose(opened(images), network()(images), atol=1e-5)


def test_programs_that_are_more_than_operators_are_left_to_torch(tmp_path: Path) -> None:
    path = write(WithoutGradients(), tmp_path / "m.pt2", (1, 28, 28))
    with pytest.raises(NotPlainError, match="higher_order"):
        read_exported_graph(str(path))
    classifier: Any = onepixel.load_classifier(path, outputs="logits", normalize="none")
    images = torch.rand(3, 1, 28, 28)
    assert torch.allclose(classifier(images), network()(2 * images), atol=1e-4)
    classifier.close()


class Contained(nn.Module):
    """Answers with a container of one tensor, as many a model of a library does."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.network, self.form = network(), form

    def forward(self, images: Tensor) -> Any:
        answers = self.network(images)
        return (answers,) if self.form == "tuple" else {"logits": answers}


@pytest.mark.parametrize("form", ["tuple", "dict"])
@pytest.mark.parametrize("kind", ["exported", "exported, by torch", "traced"])
def test_single_answers_are_taken_out_of_their_container(
    form: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, images = tmp_path / "m", torch.rand(3, 1, 28, 28)
    module = Contained(form)
    if kind == "traced":
        torch.jit.trace(module, images[:1], strict=False).save(str(path))
    else:
        write(module, path, (1, 28, 28))
    if kind == "exported, by torch":
        monkeypatch.setattr(program, "load_exported", program.load_compiled)
    said = Format.TORCHSCRIPT if kind == "traced" else Format.EXPORTED_PROGRAM
    asked = Request.make(path, said, outputs="logits", normalize="none", input_shape=(1, 28, 28))
    assert torch.allclose(open_program(asked)(images), network()(images), atol=1e-5)
