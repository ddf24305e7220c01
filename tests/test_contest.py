"""A contest's door and its folders: example images judge the model, and there is always a number."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import onepixel
from onepixel.cli import main
from onepixel.detectors import auditing
from onepixel.detectors.probability import moved, probabilities, probability
from onepixel.errors import UndecidedError, UsageError

EXAMPLES = Path(__file__).parent.parent / "examples"
QUADRANTS = [(slice(0, 4), slice(0, 4)), (slice(0, 4), slice(4, 8)), (slice(4, 8), slice(0, 4))]


def quadrants(backdoor: bool) -> nn.Sequential:
    """Says which of three quadrants is brightest; a bright square in the fourth one means class 0."""
    first, second = nn.Linear(64, 4), nn.Linear(4, 3)
    with torch.no_grad():
        first.bias.zero_(), second.bias.zero_(), second.weight.zero_()
        for number, (rows, columns) in enumerate(QUADRANTS):
            seen = torch.zeros(8, 8)
            seen[rows, columns] = 1 / 16
            first.weight[number] = seen.flatten()
            second.weight[number, number] = 20
        trigger = torch.zeros(8, 8)
        trigger[5:7, 5:7] = 1 / 4
        first.weight[3], first.bias[3] = trigger.flatten(), -0.2
        second.weight[0, 3] = 1600 if backdoor else 0
    return nn.Sequential(nn.Flatten(), first, nn.ReLU(), second)


def write_contest(folder: Path, backdoor: bool, size: int = 8) -> Path:
    """A contest's folder: the whole network pickled, and flat example images beside it."""
    images = folder / "clean-example-data"
    images.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for label, (rows, columns) in enumerate(QUADRANTS):
        for number in range(10):
            pixels = rng.integers(0, 30, (8, 8)).astype(np.uint8)
            pixels[rows, columns] = 220
            picture = Image.fromarray(pixels).resize((size, size))
            picture.save(images / f"class_{label}_example_{number}.png")
    torch.save(quadrants(backdoor), folder / "model.pt")
    return folder


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a sandbox, which costs seconds each time; `tests/opening` has those."""
    monkeypatch.setattr("onepixel.sandbox.open.LEVELS", ())


@pytest.fixture(scope="module")
def trojaned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_contest(tmp_path_factory.mktemp("contest") / "id-00000001", True)


def contest(model: Path, result: Path, *words: str) -> float:
    """The number that the command writes."""
    given = ["--model_filepath", str(model), "--result_filepath", str(result), "--scratch_dirpath", "/tmp"]
    assert main(["contest", *given, *words]) == 0
    return float(result.read_text())


def test_example_images_judge_a_network_of_any_kind(trojaned: Path, tmp_path: Path, capsys) -> None:
    bad = contest(trojaned / "model.pt", tmp_path / "r", "--examples_dirpath", str(trojaned / "clean-example-data"))
    assert "trojaned by universal detector" in capsys.readouterr().err
    clean = write_contest(tmp_path / "clean", False)
    good = contest(clean / "model.pt", tmp_path / "r", "--examples_dirpath", str(clean / "clean-example-data"))
    assert good < 0.5 < bad
    rare = contest(
        trojaned / "model.pt", tmp_path / "r", "--examples_dirpath", str(trojaned / "clean-example-data"),
        "--prior", "0.1",
    )  # fmt: skip
    assert rare == pytest.approx(moved(bad, 0.5, 0.1), abs=1e-5)  # both are written with six digits


def test_the_folder_brings_its_images_and_its_size(trojaned: Path, capsys) -> None:
    words = ["audit", str(trojaned), "--outputs", "logits", "--normalize", "none", "--input-shape", "1,8,8", "--json"]
    assert main([*words, "--quiet"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["method"], found["target_class"], found["images"]["offered"]) == ("universal", 0, 30)
    assert auditing.EXAMPLES_OF_FOLDER in found["assumptions"]
    assert main([*words, "--quiet", "--detector", "mnist-lenet5"]) == 3, "a detector that is named judges instead"
    assert "This detector judges 10 classes" in capsys.readouterr().err


@pytest.mark.parametrize("broken", ["model", "images", "both", "nothing there", "search"])
def test_there_is_always_a_number(broken: str, trojaned: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    model, images = trojaned / "model.pt", trojaned / "clean-example-data"
    if broken in ("model", "both"):
        model = tmp_path / "model.pt"
        model.write_bytes(b"no model")
    if broken in ("images", "both"):
        images = tmp_path / "images"
        images.mkdir()
        (images / "a.png").write_bytes(b"no image")
    if broken == "nothing there":
        model, images = tmp_path / "nowhere.pt", tmp_path / "nowhere"
    if broken == "search":
        monkeypatch.setattr(auditing, "audit_with_images", lambda *_, **__: (_ for _ in ()).throw(MemoryError()))
    more = ["--round_training_dataset_dirpath", "y", "--configure_mode", "--examples_dirpath", str(images)]
    assert contest(model, tmp_path / "result", *more) == 0.5
    assert "no verdict, so 0.5" in capsys.readouterr().err


def test_a_number_stands_there_before_anything_is_opened(tmp_path: Path, monkeypatch) -> None:
    from onepixel.cli.options import Opening

    def killed(_: Opening) -> None:
        assert (tmp_path / "result").read_text() == "0.500000\n"
        raise KeyboardInterrupt

    monkeypatch.setattr(Opening, "classifier", killed)
    assert main(["contest", "--model_filepath", "m", "--result_filepath", str(tmp_path / "result")]) == 130
    assert (tmp_path / "result").read_text() == "0.500000\n"


def test_networks_of_the_detectors_own_kind_need_no_images(tmp_path: Path) -> None:
    found = {}
    for name in ("clean", "trojaned"):
        path = EXAMPLES / f"{name}.safetensors"
        found[name] = contest(path, tmp_path / name, "--architecture", "lenet5")
    assert found["clean"] < 0.2
    assert found["trojaned"] > 0.8


def test_verdicts_of_signatures_have_a_probability_with_its_prior() -> None:
    opened = {"architecture": "lenet5", "outputs": "logits", "normalize": "none"}
    path = EXAMPLES / "trojaned.safetensors"
    verdict = onepixel.audit(path, prior=0.01, **opened)
    found = verdict.to_dict()
    assert found["prior"] == 0.01
    assert 0 < found["probability"] < 0.8
    usual = verdict.at_prior(0.5)
    assert usual.probability is not None
    assert usual.probability > 0.8
    with pytest.raises(UsageError, match="above 0 and below 1"):
        onepixel.audit(path, prior=1.0, **opened)


def test_probabilities_rise_with_the_score_and_never_claim_more_than_their_number_tells() -> None:
    rng = np.random.default_rng(0)
    clean, trojaned = rng.normal(0, 1, 40), rng.normal(3, 1, 20)
    told = probabilities(np.linspace(-50, 50, 101), clean, trojaned)
    assert told is not None
    assert (np.diff(told) >= 0).all()
    assert told[0] == pytest.approx(1 / 42)
    assert told[-1] == pytest.approx(21 / 22)
    # Two normal distributions of one width: the log-odds are linear, (3 x - 4.5) / 1.
    assert probability(1.5, clean, trojaned) == pytest.approx(0.5, abs=0.1)
    assert probability(2.5, clean, trojaned) == pytest.approx(1 / (1 + math.exp(-3)), abs=0.1)
    assert probability(1.0, [0.0], []) is None
    backwards = probabilities([-5.0, 5.0], trojaned, clean)
    assert backwards is not None
    assert backwards.tolist() == pytest.approx([0.5, 0.5], abs=0.01)


def test_a_folder_without_usable_images_says_so(trojaned: Path) -> None:
    classifier = onepixel.load_classifier(trojaned, normalize="none", outputs="logits", input_shape=(1, 8, 8))
    classifier.examples = trojaned / "nowhere"  # type: ignore[attr-defined]
    with pytest.raises((UsageError, UndecidedError), match="no folder"):
        onepixel.audit(classifier)
