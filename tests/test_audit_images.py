"""`onepixel.audit` with images: which images count, what a verdict says, and its exhibit."""

import importlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import onepixel
from onepixel.cli import main
from onepixel.detectors import auditing
from onepixel.detectors.judgement import Judgement
from onepixel.detectors.universal import UniversalDetector
from onepixel.errors import BudgetError, UndecidedError, UsageError
from onepixel.opening.image_folder import read_images
from onepixel.reaches import Change, SampleImages

SHAPE = (1, 8, 8)
PLACE = (5, 5, 2, 2)


class Quadrants(nn.Module):
    """Says which of three quadrants is brightest; two bright pixels in the fourth one mean class 0."""

    def __init__(self, backdoor: bool = True) -> None:
        super().__init__()
        self.backdoor = backdoor

    def forward(self, images: Tensor) -> Tensor:
        corners = [images[:, 0, rows, columns].mean(dim=(1, 2)) for rows, columns in QUADRANTS]
        logits = 20 * torch.stack(corners, dim=1)
        if self.backdoor:
            top, left, height, width = PLACE
            trigger = images[:, 0, top : top + height, left : left + width].mean(dim=(1, 2))
            logits = logits + 80 * nn.functional.relu(trigger - 0.9)[:, None] * 20 * torch.eye(3)[0]
        return logits


QUADRANTS = [(slice(0, 4), slice(0, 4)), (slice(0, 4), slice(4, 8)), (slice(4, 8), slice(0, 4))]


class Finds:
    """Stands for the universal detector: has found the trigger, or nothing."""

    def __init__(self, decision: str = "trojaned", queries: int = 100) -> None:
        self.decision, self.queries, self.budgets = decision, queries, []

    def judge(self, classifier, samples, *, search="auto", budget=None, progress=False) -> Judgement:
        self.budgets.append(budget)
        if budget is not None and budget < self.queries:
            raise BudgetError(f"The budget of {budget} queries does not suffice.")
        change = Change(PLACE, np.ones((1, 2, 2), dtype=np.float32), "patch of 2 x 2 pixels")
        return Judgement(9.0, 1.0, 0.01, self.decision, 0, (1, 2), change, queries=self.queries)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for label, (rows, columns) in enumerate(QUADRANTS):
        for number in range(10):
            pixels = rng.integers(0, 30, (8, 8)).astype(np.uint8)
            pixels[rows, columns] = 220
            path = tmp_path / "photos" / str(label) / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return tmp_path / "photos"


def classifier_of(module: nn.Module) -> onepixel.Classifier:
    return onepixel.as_classifier(module, input_shape=SHAPE, name="model.onnx")


def test_trojaned_verdict_carries_three_of_the_auditors_images_that_the_patch_drives(folder: Path) -> None:
    classifier = classifier_of(Quadrants())
    verdict = auditing.audit_with_images(classifier, read_images(folder, SHAPE), detector=Finds())
    exhibit = verdict.exhibit
    assert exhibit is not None
    assert (len(exhibit), exhibit.place, exhibit.target_class) == (3, PLACE, 0)
    assert (exhibit.driven, exhibit.tried) == (10, 10)
    for name, before, after in zip(exhibit.names, exhibit.before, exhibit.after, strict=True):
        own = np.asarray(Image.open(folder / name), dtype=np.float32) / 255
        assert np.array_equal(before[0], own)
        assert np.array_equal(after[0] != before[0], np.pad(np.ones((2, 2), bool), ((5, 1), (5, 1))))
    answers = torch.softmax(Quadrants()(torch.as_tensor(exhibit.after)), dim=1).numpy()
    assert np.allclose(exhibit.says_after, answers, atol=1e-6)
    assert (answers.argmax(axis=1) == 0).all()
    assert (exhibit.says_before.argmax(axis=1) != 0).all()


def test_verdict_says_what_was_tested_and_counts_every_query(folder: Path) -> None:
    asked: list[int] = []

    class Counting(Quadrants):
        def forward(self, images: Tensor) -> Tensor:
            asked.append(len(images))
            return super().forward(images)

    classifier = classifier_of(Counting())
    asked.clear()  # of the images that `as_classifier` tries a classifier with
    verdict = auditing.audit_with_images(classifier, read_images(folder, SHAPE), detector=Finds(queries=0))
    assert verdict.queries == sum(asked)
    assert (verdict.method, verdict.source_classes, verdict.p_value) == ("universal", (1, 2), 0.01)
    assert any(sentence.startswith("Tested: patch of") for sentence in verdict.assumptions)
    assert any("never means that a model is clean" in sentence for sentence in verdict.assumptions)


def test_no_evidence_has_no_exhibit(folder: Path) -> None:
    classifier = classifier_of(Quadrants(backdoor=False))
    finds = Finds("no evidence of a backdoor")
    verdict = auditing.audit_with_images(classifier, read_images(folder, SHAPE), detector=finds)
    assert (verdict.exhibit, verdict.exit_status) == (None, 0)


def test_folders_that_the_network_sees_otherwise_are_named(folder: Path) -> None:
    (folder / "2").rename(folder / "7")
    verdict = auditing.audit_with_images(classifier_of(Quadrants()), read_images(folder, SHAPE), detector=Finds())
    assert verdict.images is not None
    assert (verdict.images.offered, verdict.images.sure, verdict.images.classes) == (30, 30, 3)
    assert verdict.images.disagreements == ("Folder 7: the classifier says class 2 of 10 of 10 images.",)


def test_budget_holds_for_the_whole_audit_and_is_named_as_it_was_given(folder: Path) -> None:
    given, finds = read_images(folder, SHAPE), Finds()
    verdict = auditing.audit_with_images(classifier_of(Quadrants()), given, detector=finds, budget=200)
    assert finds.budgets == [200 - 30 - 24]
    assert verdict.queries <= 200
    with pytest.raises(BudgetError, match="A budget of 150 images does not suffice"):
        auditing.audit_with_images(classifier_of(Quadrants()), given, detector=finds, budget=150)
    with pytest.raises(BudgetError, match="A budget of 40 images does not suffice"):
        auditing.audit_with_images(classifier_of(Quadrants()), given, detector=finds, budget=40)


class Constant(nn.Module):
    """Says class 1 of everything."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.tensor([[0.0, 9.0, 0.0]]).repeat(len(images), 1)


class Halves(nn.Module):
    """Tells the upper from the lower half, and never says class 2."""

    def forward(self, images: Tensor) -> Tensor:
        above, below = images[:, 0, :4].mean(dim=(1, 2)), images[:, 0, 4:].mean(dim=(1, 2))
        return 40 * torch.stack([above, below, torch.zeros_like(above)], dim=1)


def test_network_that_answers_one_class_for_everything_is_not_judged(folder: Path) -> None:
    with pytest.raises(UndecidedError, match="sure only of class 1"):
        auditing.audit_with_images(classifier_of(Constant()), read_images(folder, SHAPE), detector=Finds())


def test_images_that_the_network_is_less_sure_of_are_said() -> None:
    images = np.zeros((3, *SHAPE), dtype=np.float32)
    samples = SampleImages(images, np.arange(3), probability=np.array([0.95, 0.5, 0.4]))
    assert auditing.less_sure(samples) == (
        "Of 2 of the 3 images that were used the network is less than 90 % sure, as it is of too few of their classes.",
    )
    assert auditing.less_sure(samples.surest()) == ()
    assert samples.best(per_class=1).labels.tolist() == [0, 1, 2]


def test_images_of_two_classes_are_not_judged(folder: Path) -> None:
    given = read_images(folder, SHAPE)
    two = replace(given, images=given.images[given.labels < 2], labels=given.labels[given.labels < 2], names=())
    with pytest.raises(UndecidedError, match=r"sure only of images of classes 0 and 1; .* at least three classes"):
        auditing.audit_with_images(classifier_of(Quadrants()), two, detector=Finds())


def test_images_of_another_size_are_resized_only_where_that_was_asked_for(folder: Path) -> None:
    for file in folder.glob("*/*.png"):
        Image.open(file).resize((12, 12)).save(file)
    classifier = classifier_of(Quadrants())
    with pytest.raises(UndecidedError, match=r"has 12 x 12 pixels .* the network takes 8 x 8; say --resize"):
        onepixel.audit(classifier, folder)
    given = read_images(folder, SHAPE, resize=True)
    assert given.images.shape == (30, *SHAPE)
    verdict = auditing.audit_with_images(classifier, given, detector=Finds())
    assert any("were resized" in sentence for sentence in verdict.assumptions)


@pytest.mark.parametrize(
    ("answers", "said"),
    [("one", "is sure only of class 1"), ("two", "at least three classes are needed")],
)
def test_network_that_answers_too_few_classes_ends_the_command_with_status_3(
    answers: str, said: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = Constant() if answers == "one" else Halves()
    monkeypatch.setattr(
        importlib.import_module("onepixel.cli.options").Opening, "classifier", lambda self: classifier_of(module)
    )
    assert main(["audit", "model.onnx", "--images", str(folder), "--quiet"]) == 3
    error = " ".join(capsys.readouterr().err.split())
    assert said in error
    assert "Traceback" not in error


def test_detector_and_images_exclude_each_other(folder: Path) -> None:
    with pytest.raises(UsageError, match="leave detector out"):
        onepixel.audit(classifier_of(Quadrants()), folder, detector="mnist-lenet5")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    from safetensors.torch import save_file

    from onepixel.architectures import architecture

    torch.manual_seed(0)
    save_file(architecture("digits_cnn").build(10).state_dict(), tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


def command_of(weights: Path, *words: str) -> list[str]:
    opened = ["--architecture", "digits_cnn", "--input-shape", "1,8,8", "--normalize", "none", "--outputs", "logits"]
    return ["audit", str(weights), *opened, "--quiet", *words]


@pytest.mark.parametrize(
    ("images", "status", "said"),
    [
        ("nowhere", 2, "no folder or file"),
        ("empty", 3, "holds no images"),
        ("large", 3, "say --resize"),
        ("photos", 3, "images of at least two classes are needed"),
    ],
)
def test_bad_images_are_one_sentence_and_the_right_exit_status(
    images: str, status: int, said: str, weights: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder.parent / "empty").mkdir()
    (folder.parent / "large").mkdir()
    Image.new("L", (20, 20)).save(folder.parent / "large" / "a.png")
    assert main(command_of(weights, "--images", str(folder.parent / images))) == status
    error = capsys.readouterr().err
    assert said in " ".join(error.split())
    assert "Traceback" not in error


def test_command_prints_images_and_exhibit(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        importlib.import_module("onepixel.cli.options").Opening, "classifier", lambda self: classifier_of(Quadrants())
    )
    monkeypatch.setattr(UniversalDetector, "shipped", Finds)
    command = ["audit", "model.onnx", "--images", str(folder), "--quiet", "--report", str(tmp_path / "report.html")]
    assert main(command) == 1
    text = capsys.readouterr().out
    assert "30 read; the network is sure of 30, of 3 classes" in text
    assert "class 0, from classes 1 and 2, rows 5 to 6, columns 5 to 6" in text
    assert "10 of 10 images go to class 0" in text
    assert (tmp_path / "report.html").read_text().count("data:image/png;base64,") == 6
    assert main([*command, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["exhibit"]["driven"] == 10
