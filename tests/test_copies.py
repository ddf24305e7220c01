"""Faster copies of a module answer as it does, leave it alone, and are asked by several threads at once."""

import subprocess
import sys
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn

from onepixel.architectures import architecture
from onepixel.classifiers import ModuleClassifier, as_classifier, to_log_odds
from onepixel.reaches import EVERY_SOURCE, SampleImages, asking
from onepixel.reaches.asking import Questions
from onepixel.reaches.candidates import Candidates, measure
from onepixel.reaches.composed import Tried, ascend
from onepixel.reaches.copies import faster_copies
from onepixel.reaches.task import Task
from random_networks import Residual, Shape, batch_norm, networks

SIDE = 8


@pytest.fixture
def two_threads() -> Iterator[None]:
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


def layers_of(module: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(part, kind) for part in module.modules())


@settings(max_examples=10)
@given(drawn=networks().filter(lambda drawn: drawn[1][0] == 3))
def test_copies_answer_as_the_module_and_leave_it_as_it_is(drawn: tuple[nn.Module, Shape]) -> None:
    module, shape = drawn
    module = module.float().train()
    weights = {name: value.clone() for name, value in module.state_dict().items()}
    classifier = as_classifier(module, input_shape=shape)
    images = torch.rand(5, *shape)
    expected = classifier(images)
    for copy in faster_copies(classifier, 2):
        answers = copy(images.to(memory_format=torch.channels_last))
        assert float((answers - expected).abs().max()) <= 1e-4 * (1 + float(expected.abs().max()))
    assert torch.equal(classifier(images), expected)
    assert all(torch.equal(value, weights[name]) for name, value in module.state_dict().items())
    assert all(part.training for part in module.modules())


def resembling(*before: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*before, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * 6, 3)).eval()


def test_batch_norm_after_a_convolution_is_gone_and_other_weights_are_shared() -> None:
    block = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), batch_norm(6), nn.ReLU(inplace=True))
    module = resembling(batch_norm(3), nn.Conv2d(3, 6, 3, bias=False), batch_norm(6), Residual(block))
    one, other = faster_copies(as_classifier(module, input_shape=(3, SIDE, SIDE)), 2)
    assert layers_of(one.module, nn.BatchNorm2d) == layers_of(other.module, nn.BatchNorm2d) == 1
    assert not any(part.training for part in one.module.modules())
    assert one.module[-1] is not module[-1]
    assert one.module[-1].weight is other.module[-1].weight is module[-1].weight


def test_copies_are_made_without_torch_s_compiler() -> None:
    code = """
import sys
from onepixel.starting import shorten_import_of_torch
shorten_import_of_torch()
from onepixel.architectures import architecture
from onepixel.classifiers import as_classifier
from onepixel.reaches.copies import faster_copies
assert len(faster_copies(as_classifier(architecture("resnet20").build(10), input_shape=(3, 32, 32)), 2)) == 2
print(sorted({"torch._dynamo", "torch._meta_registrations", "sympy"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


class Twice(nn.Module):
    """One convolution before two batch norms."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.one, self.other = nn.Conv2d(3, 6, 3), batch_norm(6), batch_norm(6)

    def forward(self, images: Tensor) -> Tensor:
        return self.one(self.convolution(images)) + self.other(self.convolution(images.flip(3)))


class Between(nn.Module):
    """What a convolution gave is written to before batch norm takes it."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 6, 3), batch_norm(6)

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(torch.relu_(self.convolution(images)))


class Beside(Between):
    """What a convolution gave is taken by something else, too."""

    def forward(self, images: Tensor) -> Tensor:
        maps = self.convolution(images)
        return self.norm(maps) + maps


@pytest.mark.parametrize("part", [Twice, Between, Beside])
def test_what_cannot_be_folded_is_asked_as_it_is(part: Callable[[], nn.Module]) -> None:
    classifier = as_classifier(resembling(part()), input_shape=(3, SIDE, SIDE))
    images = torch.rand(40, 3, SIDE, SIDE)
    (copy,) = faster_copies(classifier, 1)
    assert layers_of(copy.module, nn.BatchNorm2d) == layers_of(classifier.module, nn.BatchNorm2d)
    assert torch.allclose(copy(images), classifier(images), atol=1e-5)


@pytest.mark.parametrize(("name", "left"), [("resnet20", 0), ("preact_resnet18", 9)])
def test_networks_that_add_what_a_convolution_gave_keep_some_batch_norm(name: str, left: int) -> None:
    torch.manual_seed(0)
    classifier = as_classifier(architecture(name).build(10).eval(), input_shape=(3, 32, 32))
    images = torch.rand(12, 3, 32, 32)
    questions = Questions(classifier)
    (copy,) = questions.way.classifiers
    assert layers_of(copy.module, nn.BatchNorm2d) == left
    assert torch.allclose(questions.log_odds(images), to_log_odds(classifier(images), "logits"), atol=1e-4)


def test_convolutions_of_one_channel_are_asked_as_they_are() -> None:
    one = nn.Sequential(nn.Conv2d(3, 1, 3), nn.Conv2d(1, 6, (2, 3), stride=(1, 2)))
    classifier = as_classifier(resembling(one), input_shape=(3, SIDE, SIDE))
    way = Questions(classifier).way
    assert (way.classifiers, way.layout) == ((classifier,), torch.contiguous_format)


def test_a_copy_that_answers_otherwise_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = as_classifier(resembling(nn.Conv2d(3, 6, 3)), input_shape=(3, SIDE, SIDE))
    wrong = as_classifier(resembling(nn.Conv2d(3, 6, 3), nn.ReLU()), input_shape=(3, SIDE, SIDE))
    monkeypatch.setattr(asking, "faster_copies", lambda *_: [wrong])
    assert Questions(classifier).way.classifiers == (classifier,)


def test_a_module_that_is_watched_or_cannot_be_copied_is_not_copied() -> None:
    module = resembling(nn.Conv2d(3, 6, 3), batch_norm(6))
    classifier = as_classifier(module, input_shape=(3, SIDE, SIDE))
    assert len(faster_copies(classifier, 1)) == 1
    hook = module[0].register_forward_hook(lambda *_: None)
    assert faster_copies(classifier, 1) == []
    hook.remove()
    module.kept = torch.ones(1, requires_grad=True) * 2
    assert faster_copies(classifier, 1) == []
    assert Questions(classifier).way.classifiers == (classifier,)


class Remembering(nn.Module):
    """Keeps what it is asked on itself, for a later layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 6, 3), nn.Linear(6, 3)

    def forward(self, images: Tensor) -> Tensor:
        self.maps = self.first(images)
        return self.last(self.maps.relu().mean((2, 3)))


class Scratch(Remembering):
    """Writes what it is asked into a buffer, which copies share."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kept", torch.zeros(2**16))

    def forward(self, images: Tensor) -> Tensor:
        maps = self.first(images)
        kept = self.kept[: maps.numel()].view(maps.shape)
        kept.copy_(maps)
        return self.last(kept.relu().mean((2, 3)))


class Noisy(Remembering):
    """Adds the same noise every time."""

    def forward(self, images: Tensor) -> Tensor:
        torch.manual_seed(0)
        return super().forward(images + torch.randn(images.shape[1:]))


class Borrowing(Remembering):
    """Has a function that calls its layers; a copy's would call them, too."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = batch_norm(6)
        self.normalised = lambda maps: self.norm(maps)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.normalised(self.first(images)).mean((2, 3)))


class Deciding(Remembering):
    """Adds what the convolution gave to bright images only, which no probe image may be."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = batch_norm(6)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.first(images)
        normalised = self.norm(maps)
        if images.mean() > 0.9:
            normalised = normalised + maps
        return self.last(normalised.mean((2, 3)))


@pytest.mark.parametrize("kind", [Scratch, Noisy, Borrowing, Deciding])
def test_a_module_whose_copies_might_answer_otherwise_is_not_copied(kind: Callable[[], nn.Module]) -> None:
    module = kind().train()
    before = {name: value.clone() for name, value in module.state_dict().items() if name != "kept"}
    classifier = as_classifier(module, input_shape=(3, SIDE, SIDE))
    assert Questions(classifier).way.classifiers == (classifier,)
    assert all(torch.equal(module.state_dict()[name], value) for name, value in before.items())


def test_a_module_is_not_copied_for_threads_that_would_not_have_its_precision() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        classifier = as_classifier(resembling(nn.Conv2d(3, 6, 3)), input_shape=(3, SIDE, SIDE))
        assert faster_copies(classifier, 2) == []


def test_a_function_that_holds_numbers_alone_is_no_reason_not_to_copy() -> None:
    module, channels = Remembering(), 6
    module.padded = lambda maps: nn.functional.pad(maps, (0, 0, 0, 0, channels, channels))
    assert len(faster_copies(as_classifier(module, input_shape=(3, SIDE, SIDE)), 2)) == 2


class Grey(nn.Module):
    """A convolution of one channel that is no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.edges, self.last = nn.Parameter(torch.randn(2, 1, 3, 3)), nn.Linear(2, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(nn.functional.conv2d(images[:, :1], self.edges, stride=(1, 2)).mean((2, 3)))


def test_a_convolution_of_one_channel_is_seen_where_it_is_no_layer() -> None:
    way = Questions(as_classifier(Grey(), input_shape=(3, 4, 3))).way
    assert way.layout == torch.contiguous_format


class Renamed(nn.Module):
    """Batch norm with two names, asked by the second."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 6, 3), batch_norm(6)
        self.other = self.norm

    def forward(self, images: Tensor) -> Tensor:
        return self.other(self.convolution(images))


def test_batch_norm_with_two_names_is_gone_under_both() -> None:
    classifier = as_classifier(resembling(Renamed()), input_shape=(3, SIDE, SIDE))
    images = torch.rand(9, 3, SIDE, SIDE)
    (copy,) = faster_copies(classifier, 1)
    assert layers_of(copy.module, nn.BatchNorm2d) == 0
    assert torch.allclose(copy(images), classifier(images), atol=1e-5)


def test_threads_ask_copies_of_their_own_in_the_order_of_the_images(two_threads: None) -> None:
    torch.manual_seed(0)
    classifier = as_classifier(Remembering(), input_shape=(3, 32, 32))
    asked: list[int] = []
    questions = Questions(classifier, advance=asked.append)
    images = torch.rand(500, 3, 32, 32)
    assert len({id(one) for one in questions.way.classifiers}) == 2
    assert torch.allclose(questions.log_odds(images), to_log_odds(classifier(images), "logits"), atol=1e-5)
    assert (sum(asked), max(asked), questions.asked) == (500, questions.batch, 500)
    assert torch.get_num_threads() == 2


def test_an_error_of_one_thread_is_raised_and_the_threads_are_put_back(two_threads: None) -> None:
    classifier = as_classifier(resembling(nn.Conv2d(3, 6, 3)), input_shape=(3, 32, 32))
    with pytest.raises(Exception, match="NaN"):
        Questions(classifier).log_odds(torch.full((300, 3, 32, 32), float("nan")))
    assert torch.get_num_threads() == 2


def test_a_filling_that_was_tried_before_is_not_asked_again() -> None:
    classifier = as_classifier(resembling(nn.Conv2d(3, 6, 3), nn.ReLU()), input_shape=(3, SIDE, SIDE))
    assert isinstance(classifier, ModuleClassifier)
    images = np.random.default_rng(0).random((12, 3, SIDE, SIDE), dtype=np.float32)
    task = Task.of(Questions(classifier), SampleImages(images, np.repeat(np.arange(3), 4)))
    start = Candidates(
        np.array([0, EVERY_SOURCE]), np.array([1, 2]), np.tile([2, 2, 3, 3], (2, 1)),
        torch.full((2, 3, 3, 3), 0.5), np.zeros(2, dtype=np.float32),
    )  # fmt: skip
    start = start.with_worth(measure(task, start)[0])
    tried, asked, reached = Tried(), [], [start]
    for _ in range(4):
        before = task.questions.asked
        reached.append(ascend(task, reached[-1], tried=tried))
        asked.append(task.questions.asked - before)
    # The first round asks for all eight colours of nine pixels; once nothing improves, nothing is left to ask.
    assert asked[0] == 72 * sum(len(task.members(source, 0, fresh=False)) for source in (1, EVERY_SOURCE))
    assert asked[1] < asked[0]
    assert asked[-1] == 0
    again = start
    for _ in range(4):
        again = ascend(task, again)
    assert torch.equal(again.filling, reached[-1].filling)
    assert np.allclose(again.worth, reached[-1].worth, atol=1e-5)
