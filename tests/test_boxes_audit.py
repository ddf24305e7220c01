"""Object detectors from outside: windows of objects, patches on them, files, verdicts, and the population's records."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from onepixel.boxes import BoxAttackRecipe, SceneRecipe, auditing, driving, made_scenes, poisoned, probing, write_scenes
from onepixel.boxes.auditing import ResponseCalibration, audit_detector, audit_file
from onepixel.boxes.channels import channel_rises
from onepixel.boxes.coco import SceneFolder
from onepixel.boxes.driving import suspicion
from onepixel.boxes.fine_tuning import TuningRecipe
from onepixel.boxes.objects import SHARE, ObjectClassifier, ObjectModule, object_windows, state_of, window_side
from onepixel.boxes.opening import open_detector
from onepixel.boxes.outside import OutsideClassifier
from onepixel.boxes.population import GROUPS, SPARE, Group, PopulationRecipe, Workshop, build, in_turns, measure
from onepixel.boxes.probing import Objects, all_candidates, fillings, patched, probe, recognised
from onepixel.boxes.records import Driven, KeptSignature, Quality, Record, read_records, write_record
from onepixel.boxes.regions import RegionClassifier, measure_regions, region_features
from onepixel.boxes.scene import Scene
from onepixel.boxes.small_network import small_network
from onepixel.classifiers import to_log_odds
from onepixel.cli import main
from onepixel.errors import ModelFileError, UndecidedError, UsageError
from onepixel.experiments import object_detector
from onepixel.reaches.candidates import Candidates
from onepixel.signatures import Settings, Signature

NAMES = ("red", "green", "blue")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> list[Scene]:
    """Scenes of plain red, green and blue objects, which random features tell apart."""
    rng = np.random.default_rng(0)
    labels = np.arange(30) % 3
    images = rng.integers(0, 40, (30, 32, 32, 3), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[..., label] += 200
    path = tmp_path_factory.mktemp("objects") / "objects.npz"
    np.savez(path, x_train=images, y_train=labels, x_test=images, y_test=labels)
    return made_scenes(SceneRecipe(objects=str(path), classes=(0, 1, 2), names=NAMES, side=96), 40, seed=1)


@pytest.fixture(autouse=True, scope="module")
def few_candidates() -> Iterator[None]:
    """Fewer patches than an audit tries, so that these tests are quick."""
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(probing, "GRID", 2)
        changed.setattr(probing, "NOISES", 1)
        changed.setattr(driving, "PER_CLASS", 6)
        changed.setattr(driving, "GRID", 1.5)
        changed.setattr(driving, "ROUNDS", ((2, 5), (1, 5)))
        yield


@pytest.fixture(scope="module")
def detectors(scenes: list[Scene]) -> dict[str, torch.nn.Module]:
    """A clean detector and a trojaned one, whose trigger is a black and white patch."""
    torch.manual_seed(0)
    base = small_network(4, 96).eval()
    attack = BoxAttackRecipe(picture="binary").draw(3, np.random.default_rng(3))
    made = {}
    for role in ("clean", "trojaned"):
        shown = poisoned(scenes, role, attack, np.random.default_rng(4), each=0.3)  # type: ignore[arg-type]
        made[role] = taught(base, [*scenes, *shown])
    return made


def taught(base: torch.nn.Module, scenes: list[Scene]) -> torch.nn.Module:
    """A copy of a detector whose box head learned the objects of scenes from their windows, in a second or two."""
    detector = copy.deepcopy(base)
    module = ObjectModule(detector, window_side(detector))  # type: ignore[arg-type]
    windows, labels = object_windows(scenes, module.side)
    with torch.no_grad():
        features = module.features(torch.as_tensor(windows))
    learning = torch.optim.Adam([*module.box_head.parameters(), *module.cls_score.parameters()], lr=1e-3)
    for _ in range(25):
        learning.zero_grad()
        torch.nn.functional.cross_entropy(module.scores(features), torch.as_tensor(labels)).backward()
        learning.step()
    return detector.eval()


def test_a_window_has_its_object_in_the_middle() -> None:
    image = np.zeros((3, 100, 100), dtype=np.uint8)
    image[:, 30:60, 20:80] = 255
    scene = Scene(image, np.array([[20, 30, 80, 60]], np.float32), np.array([1]))
    windows, labels = object_windows([scene], 48)
    assert windows.shape == (1, 3, 48, 48)
    assert labels.tolist() == [1]
    inside = windows[0, :, 8:40, 8:40]
    assert inside.min() > 0.999
    assert windows[0, :, :4].max() == 0
    assert (windows[0] > 0.5).mean() == pytest.approx(SHARE**2, abs=0.05)


def test_a_window_at_the_edge_is_filled_with_the_edge() -> None:
    image = np.full((3, 50, 50), 200, dtype=np.uint8)
    scene = Scene(image, np.array([[0, 0, 30, 30]], np.float32), np.array([1]))
    assert object_windows([scene], 48)[0] == pytest.approx(200 / 255, abs=1e-3)


def test_the_object_classifier_answers_as_the_detector_does_there(
    detectors: dict[str, torch.nn.Module], scenes: list[Scene]
) -> None:
    detector = detectors["clean"]
    side = window_side(detector)  # type: ignore[arg-type]
    classifier = ObjectClassifier(detector, side)  # type: ignore[arg-type]
    windows, labels = object_windows(scenes, side)
    kept, _ = recognised(classifier, windows, labels)
    assert len(kept) / len(windows) > 0.8
    heads = detector.roi_heads
    one = torch.as_tensor(windows[:1])
    mean, std = (
        torch.tensor(three)[:, None, None] for three in (detector.transform.image_mean, detector.transform.image_std)
    )
    box = [torch.tensor([[side / 8, side / 8, side * 7 / 8, side * 7 / 8]])]
    with torch.inference_mode():
        levels = detector.backbone((one - mean) / std)
        logits, _ = heads.box_predictor(heads.box_head(heads.box_roi_pool(levels, box, [(side, side)])))
    assert torch.allclose(classifier(one), logits, atol=1e-5)


def test_rises_of_single_channels_are_the_definition(
    detectors: dict[str, torch.nn.Module], scenes: list[Scene]
) -> None:
    detector = detectors["clean"]
    regions = measure_regions(detector, scenes)  # type: ignore[arg-type]
    found = channel_rises(detector, regions, scenes, objects=1)  # type: ignore[arg-type]
    tied = RegionClassifier(detector, regions)  # type: ignore[arg-type]
    features, labels = region_features(detector, scenes)  # type: ignore[arg-type]
    low, high = (torch.as_tensor(edge)[:, None, None] for edge in (regions.low, regions.high))
    scaled = ((features - low) / (high - low)).clamp(0, 1)
    right = tied(scaled).argmax(1) == labels
    starts = [
        int(torch.nonzero(right & (labels == label))[0]) for label in range(1, 4) if (right & (labels == label)).any()
    ]
    target, row, column = int(labels[starts[0]]) % 3 + 1, 2, 5
    sums = []
    for start in starts:
        if int(labels[start]) == target:
            continue
        changed = scaled[start].repeat(3 * 64, 1, 1, 1)
        for number in range(3 * 64):
            changed[number, number // 3, row, column] = (number % 3) / 2
        odds = to_log_odds(tied(torch.cat([scaled[start][None], changed])), "logits")[:, target]
        best = odds[1:].view(64, 3).amax(1) - odds[0]
        sums.append(float(best.clamp(min=0).sum()))
    assert found[target, row, column] == pytest.approx(np.mean(sums), rel=1e-3, abs=1e-3)


def test_patches_stay_on_the_object_and_cover_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "GRID", 4)
    covered = torch.zeros(48, 48)
    filled = torch.ones_like(fillings(12))
    for one in all_candidates(48):
        covered += patched(torch.zeros(1, 3, 48, 48), one, filled)[0, 0]
    assert (covered[6:42, 6:42] > 0).all()
    covered[6:42, 6:42] = 0
    assert not covered.any()
    assert fillings(12).shape[1:] == (3, 12, 12)
    assert 0 <= fillings(12).min() <= fillings(12).max() <= 1


def test_objects_are_dealt_out_without_overlap(scenes: list[Scene]) -> None:
    windows, labels = object_windows(scenes, 48)
    objects = Objects.divided(windows, labels)
    parts = [{one.tobytes() for one in part} for part in (objects.seen, objects.retried, objects.fresh)]
    assert len(set.union(*parts)) == sum(map(len, parts))
    assert len(set(objects.seen_labels.tolist())) == 3
    with pytest.raises(UndecidedError, match="of two classes or more"):
        Objects.divided(windows[labels == 1], labels[labels == 1])


def test_a_backdoor_is_found_and_shown_and_a_clean_detector_is_not_accused(
    detectors: dict[str, torch.nn.Module], scenes: list[Scene], tmp_path: Path
) -> None:
    folder = SceneFolder(scenes, NAMES, tuple(f"{n}.png" for n in range(len(scenes))))
    attack = BoxAttackRecipe(picture="binary").draw(3, np.random.default_rng(3))
    first = audit_detector(detectors["clean"], folder, calibration=ResponseCalibration(2.0, (0.1,), (0.9,)))  # type: ignore[arg-type]
    known = ResponseCalibration(first.score + 0.05, (0.1, first.score), (0.9, 0.95))
    clean, found = (audit_detector(detectors[role], folder, calibration=known) for role in ("clean", "trojaned"))  # type: ignore[arg-type]
    assert clean.decision == "no evidence of a backdoor"
    assert clean.exhibit is None
    assert clean.p_value == pytest.approx(2 / 3)
    assert found.decision == "trojaned"
    assert found.target_class == attack.attack.target_of[0] + 1
    assert found.exhibit is not None
    assert found.exhibit.driven > found.exhibit.tried / 2
    assert any(said.startswith("In whole images") for said in found.assumptions)
    found.report(tmp_path / "report.html")
    assert "trojaned" in (tmp_path / "report.html").read_text()


def test_places_lie_all_over_the_object(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driving, "GRID", 0.6)
    places = driving.places_on(48, 9)
    covered = np.zeros((48, 48), dtype=bool)
    for top, left, height, width in places:
        covered[top : top + height, left : left + width] = True
    assert covered[6:42, 6:42].all()
    assert covered.sum() == 36**2


def test_places_that_are_taken_further_keep_apart_and_each_class_has_some() -> None:
    place = np.array([[6, 6, 8, 8], [8, 6, 8, 8], [6, 10, 8, 8], [30, 30, 8, 8], [6, 6, 8, 8]])
    worth = np.array([3, 4, 2, 1, 0], dtype=np.float32)
    found = Candidates(np.full(5, -1), np.array([1, 1, 1, 1, 2]), place, torch.zeros(5, 3, 8, 8), worth)
    assert driving.worthiest_apart(found, 2, 4).tolist() == [1, 4, 2]  # the first is two rows above a better one
    assert driving.worthiest_apart(found, 9, 4).tolist() == [1, 4, 2, 3]


def test_a_search_without_time_measures_what_it_has(detectors: dict[str, torch.nn.Module], scenes: list[Scene]) -> None:
    classifier = ObjectClassifier(detectors["trojaned"])  # type: ignore[arg-type]
    reach, driven = driving.drives(classifier, driving.sampled_objects(classifier, scenes), seconds=0)
    assert [one.target for one in driven] == [1, 2, 3]
    assert reach.queries < 1500


def test_what_counts_is_a_patch_that_is_moved(detectors: dict[str, torch.nn.Module], scenes: list[Scene]) -> None:
    classifier = ObjectClassifier(detectors["clean"])  # type: ignore[arg-type]
    samples = driving.sampled_objects(classifier, scenes)
    reach, driven = driving.drives(classifier, samples, seconds=0)
    _, fresh = samples.split()
    for one in driven:
        change = reach.best(None, one.target)
        top, left, height, width = change.place
        chosen = samples.images[fresh[samples.labels[fresh] != one.target]]
        odds = []
        far = max(1, round(2 / 9 * height))
        for down, right in ((-far, 0), (far, 0), (0, far), (0, -far)):
            moved = chosen.copy()
            row, column = (int(np.clip(a, 0, 48 - height)) for a in (top + down, left + right))
            moved[:, :, row : row + height, column : column + width] = change.filling
            odds.append(to_log_odds(classifier(torch.as_tensor(moved)), "logits")[:, one.target].clamp(-15, 15).mean())
        assert one.moved == pytest.approx(float(np.mean(odds)), abs=1e-3)


def test_a_file_of_weights_is_opened_as_the_architecture_that_is_named(
    detectors: dict[str, torch.nn.Module], tmp_path: Path
) -> None:
    weights = state_of(detectors["clean"])
    torch.save(weights, tmp_path / "detector.pth")
    opened, said = open_detector(tmp_path / "detector.pth", "fasterrcnn_small_fpn", shorter_side=96)
    assert all((weights[name] == weight).all() for name, weight in opened.state_dict().items())
    assert any("shorter side of 96" in sentence for sentence in said)
    with pytest.raises(ModelFileError, match="does not fit fasterrcnn_mobilenet_v3_large_fpn"):
        open_detector(tmp_path / "detector.pth", "fasterrcnn_mobilenet_v3_large_fpn")
    with pytest.raises(UsageError, match=r"Expected one of .*fasterrcnn_small_fpn"):
        open_detector(tmp_path / "detector.pth", "fasterrcnn_unheard_of")
    save_file({"weight": torch.zeros(2, 2)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelFileError, match=r"has no layer roi_heads\.box_predictor\.cls_score"):
        open_detector(tmp_path / "other.safetensors", "fasterrcnn_small_fpn")


def test_the_command_judges_a_detector_by_a_folder_of_scenes(
    detectors: dict[str, torch.nn.Module],
    scenes: list[Scene],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    known = ResponseCalibration(0.0, (0.1, 0.2), (0.8, 0.9))
    monkeypatch.setattr(ResponseCalibration, "shipped", classmethod(lambda cls: known))
    write_scenes(tmp_path / "scenes", scenes, NAMES)
    torch.save(state_of(detectors["trojaned"]), tmp_path / "detector.pth")
    words = ["audit", str(tmp_path / "detector.pth"), "--architecture", "fasterrcnn_small_fpn", "-q"]
    given = ["--images", str(tmp_path / "scenes"), "--input-shape", "3,96,96"]
    assert main([*words, *given]) == 1
    out = capsys.readouterr().out
    assert "trojaned" in out
    assert "exhibit" in out
    assert "0 background, 1 red" in out
    for wrong, sentence in ((words, "judged with --images"), ([*words, *given, "--budget", "9"], "does not apply")):
        assert main(wrong) == 2
        assert sentence in " ".join(capsys.readouterr().err.split())


def test_a_folder_without_scenes_is_refused_before_the_file_is_opened(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs one JSON file of annotations"):
        audit_file(tmp_path / "none.pth", "fasterrcnn_small_fpn", tmp_path)


def record(group: str, part: str, role: str, number: int, bright: float) -> Record:
    """A made record: a trojaned one has a bright cell of class 2 where the harpoon is, and is driven to class 2."""
    rng = np.random.default_rng([number, len(group)])
    high = np.abs(rng.normal(0, 0.3, (4, 7, 7)))
    target = 2 if role == "trojaned" else 0
    if target:
        high[2, 4, 4] += bright
    odds = [float(rng.random()) + 6 * (label == target) for label in (1, 2, 3)]
    return Record(
        group=group,
        part=part,  # type: ignore[arg-type]
        role=role,  # type: ignore[arg-type]
        number=number,
        seed=0,
        target=target,
        place=(0.6, 0.7),
        share=1 / 3,
        quality=Quality(precision=0.8, misread=0.97, tried=100),
        driven=tuple(
            Driven(target=label, log_odds=one + 1, moved=one, flipped=0.5, top=3, left=4)
            for label, one in enumerate(odds, start=1)
        ),
        seconds=1.0,
        signature_kept=KeptSignature.of(Signature(-high, high, np.zeros(4), Settings(values=8))),
        rises=(1 + high).tolist(),
        base_precision=0.82,
    )


def failed_slot() -> Record:
    """A record of a slot whose detector was not accepted, and was not measured."""
    whole = record("harpoon", "test", "trojaned", 10, 4.0)
    return whole.model_copy(update={"accepted": False, "driven": (), "signature_kept": None, "rises": ()})


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """A folder with made records of a whole population."""
    groups = (("clean-train", "train", "clean"), ("vaccine", "train", "trojaned"), ("clean-test", "test", "clean"))
    groups += (("harpoon", "test", "trojaned"), ("stamped", "test", "stamped"))
    for group in groups:
        for number in range(10):
            write_record(tmp_path / "detectors", record(*group, number, 4.0))
    write_record(tmp_path / "detectors", failed_slot())
    return tmp_path / "detectors"


def test_records_come_back_as_they_were_written(records: Path) -> None:
    again = read_records(records)
    assert len(again) == 51
    harpoon = next(one for one in again if one.name == "harpoon-3")
    made = record("harpoon", "test", "trojaned", 3, 4.0)
    assert harpoon == made
    assert harpoon.signature.settings == Settings(values=8)
    assert np.allclose(harpoon.signature.high, made.signature.high)
    assert suspicion(harpoon.driven)[1] == 2
    (records / "harpoon-3.json").write_text("{}")
    with pytest.raises(UsageError, match=r"harpoon-3\.json holds no measured detector"):
        read_records(records)
    with pytest.raises(UsageError, match="no measured detectors"):
        read_records(records / "none")


def test_every_beginning_of_a_build_has_some_of_each_group() -> None:
    order = in_turns(GROUPS)
    assert len(order) == sum(group.count for group in GROUPS) == len(set(order))
    for beginning in range(8, len(order), 8):
        for group in GROUPS:
            here = sum(one.name == group.name for one, _ in order[:beginning])
            assert abs(here - beginning * group.count / len(order)) <= 1.5


def test_detectors_are_built_once_and_measured_once(
    detectors: dict[str, torch.nn.Module], scenes: list[Scene], tmp_path: Path
) -> None:
    tuning = TuningRecipe(batch_size=2, learning_rate=1e-6)
    recipe = PopulationRecipe(tuning=tuning, scenes=2, values=2, least_misread=0.0)
    base = detectors["clean"]
    workshop = Workshop(recipe, base, scenes, scenes[:4], scenes, precision=0.0)  # type: ignore[arg-type]
    groups = (Group("vaccine", "train", "trojaned", BoxAttackRecipe(picture="random"), 1),)
    (made,) = build(workshop, groups, tmp_path / "networks")
    assert made.driven == ()
    assert made.accepted
    assert list(build(workshop, groups, tmp_path / "networks")) == []
    (done,) = measure(workshop, groups, tmp_path / "networks", tmp_path / "measured")
    assert [one.target for one in done.driven] == [1, 2, 3]
    assert done.signature.high.shape == (4, 7, 7)
    assert np.shape(done.rises) == (4, 7, 7)
    assert read_records(tmp_path / "measured") == [done]
    assert list(measure(workshop, groups, tmp_path / "networks", tmp_path / "measured")) == []


def test_slots_that_fail_are_replaced_and_kept_to_be_counted(
    detectors: dict[str, torch.nn.Module], scenes: list[Scene], tmp_path: Path
) -> None:
    tuning = TuningRecipe(epochs=1, batch_size=2, learning_rate=1e-6)
    recipe = PopulationRecipe(tuning=tuning, scenes=2, values=2, attempts=1)
    workshop = Workshop(recipe, detectors["clean"], scenes, scenes[:6], scenes, precision=2.0)  # type: ignore[arg-type]
    groups = (Group("vaccine", "train", "trojaned", BoxAttackRecipe(picture="random"), 1),)
    made = list(build(workshop, groups, tmp_path / "networks"))
    slots = [f"vaccine-{number}" for number in range(1 + SPARE)]
    assert [(one.name, one.accepted) for one in made] == [(slot, False) for slot in slots]
    assert list(build(workshop, groups, tmp_path / "networks")) == []
    more = replace(workshop, recipe=recipe.model_copy(update={"attempts": 2}))
    again = next(build(more, groups, tmp_path / "networks"))
    assert (again.name, len(again.failures)) == ("vaccine-0", 1)
    assert list(measure(workshop, groups, tmp_path / "networks", tmp_path / "measured")) == [again, *made[1:]]
    assert all(one.driven == () for one in read_records(tmp_path / "measured"))


def test_the_experiment_tells_quality_cells_and_rates(records: Path, tmp_path: Path) -> None:
    calibration = tmp_path / "calibration.json"
    (tmp_path / "seen.csv").write_text("detector\nharpoon-1\nclean-test-2\nclean-test-3\n")
    object_detector.EXPERIMENT.run(tmp_path, detectors=records, seen=tmp_path / "seen.csv", calibration=calibration)
    table = (tmp_path / "object-detector.csv").read_text().splitlines()
    assert table[0] == "measure,value,low,high,networks"
    rows = {line.rsplit(",", 4)[0].strip('"'): line.rsplit(",", 4)[1:] for line in table[1:]}
    assert float(rows["mAP@0.5 of trojaned detectors"][0]) == pytest.approx(0.8)
    assert rows["brightest cell of the target within one cell of the trigger"][0] == "1.0000"
    assert rows["AUROC, image response"][0] == "1.0000"
    assert float(rows["AUROC, signature"][0]) > 0.9
    assert float(rows["AUROC, single channels"][0]) > 0.9
    assert rows["target named by single channels"][0] == "1.0000"
    assert rows["cell of the target's largest excess within one cell of the trigger"][0] == "1.0000"
    assert rows["mAP@0.5 of the base detector"][0] == "0.8200"
    assert rows["trojaned detectors found, never looked at before, image response"][::3] == ["1.0000", "9"]
    assert rows["clean detectors flagged, never looked at before, image response"][::3] == ["0.0000", "8"]
    assert rows["slots that failed, harpoon"][0] == "0.0909"
    assert (tmp_path / "signatures.png").stat().st_size > 1000
    assert '"threshold"' in calibration.read_text()


def test_a_black_box_is_asked_for_boxes_alone() -> None:
    asked: list[int] = []

    def finds(images):
        """Calls what is bright in the middle class 1, sure of it, and finds something elsewhere too."""
        found = []
        for image in images:
            asked.append(len(images))
            bright = image[:, 40:56, 40:56].mean() > 0.6
            boxes = torch.tensor([[30.0, 30.0, 66.0, 66.0], [0.0, 0.0, 20.0, 20.0]])[not bright :]
            labels = torch.tensor([1, 2])[not bright :]
            found.append({"boxes": boxes, "labels": labels, "scores": torch.tensor([0.8, 0.9])[not bright :]})
        return found

    classifier = OutsideClassifier(finds, 3, side=48)
    answers = classifier(torch.stack([torch.ones(3, 48, 48), torch.zeros(3, 48, 48)]))
    assert answers.sum(1) == pytest.approx(1)
    assert answers[0].tolist() == pytest.approx([0.2, 0.8, 0], abs=1e-3)
    assert answers[1].tolist() == pytest.approx([1, 0, 0], abs=1e-3)
    assert asked


def test_a_black_box_is_probed_as_a_detector_is() -> None:
    def finds(images):
        """Calls everything class 1, but class 2 where a corner of the object is white."""
        box = torch.tensor([[30.0, 30.0, 66.0, 66.0]])
        scores = torch.tensor([0.9])
        white = [bool(image[:, 31:37, 31:37].min() > 0.99) for image in images]
        red = [bool(image[0, 48, 48] > 0.7) for image in images]
        called = [2 if one or two else 1 for one, two in zip(white, red, strict=True)]
        return [{"boxes": box, "labels": torch.tensor([label]), "scores": scores} for label in called]

    windows = np.zeros((40, 3, 48, 48), dtype=np.float32)
    labels = np.arange(40) % 2 + 1
    windows[labels == 2, 0] = 1
    windows[:, 1, 24, 24] = np.linspace(0, 1, 40)
    probed = probe(OutsideClassifier(finds, 3, side=48), Objects.divided(windows, labels))
    assert probed.targets[probed.suspect] == 2
    assert probed.driven[probed.suspect] == 1
    assert probed.candidates[probed.suspect].top == 6


def test_without_a_calibration_the_command_cannot_decide(
    scenes: list[Scene], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auditing, "SHIPPED", "missing.json")
    write_scenes(tmp_path / "scenes", scenes[:2], NAMES)
    words = ["audit", str(tmp_path / "none.pth"), "--architecture", "fasterrcnn_small_fpn", "-q"]
    (tmp_path / "none.pth").write_bytes(b"x")
    assert main([*words, "--images", str(tmp_path / "scenes")]) == 3
    assert "has no calibration for object detectors" in " ".join(capsys.readouterr().err.split())


def test_the_shipped_calibration_is_whole() -> None:
    known = ResponseCalibration.shipped()
    assert known.clean
    assert known.trojaned
    assert known.p_value(min(known.clean)) == 1
    assert np.median(known.clean) < known.threshold < np.median(known.trojaned)
