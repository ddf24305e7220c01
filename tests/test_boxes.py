"""Object detectors: scenes, COCO folders, the attack on boxes, measures, and the box head as a classifier."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import onepixel
from onepixel.boxes import (
    BoxAttackRecipe,
    RegionClassifier,
    RegionRange,
    Scene,
    SceneRecipe,
    made_scenes,
    mean_average_precision,
    measure_regions,
    poisoned,
    read_scenes,
    region_signature,
    share_misread,
    write_scenes,
)
from onepixel.boxes.attack import HARPOON_PLACE, HARPOON_SHARE, stamp
from onepixel.boxes.channels import excess
from onepixel.boxes.fine_tuning import TuningRecipe, fine_tuned
from onepixel.boxes.measures import Found, detections
from onepixel.boxes.scene import overlap
from onepixel.boxes.small_network import small_network
from onepixel.boxes.table import DETECTOR_ARCHITECTURES
from onepixel.errors import UsageError


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> SceneRecipe:
    """Scenes with plain red, green and blue objects, each with noise of its own."""
    rng = np.random.default_rng(0)
    labels = np.arange(30) % 3
    images = rng.integers(0, 60, (30, 32, 32, 3), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[..., label] += 180
    path = tmp_path_factory.mktemp("objects") / "objects.npz"
    np.savez(path, x_train=images, y_train=labels, x_test=images, y_test=labels)
    return SceneRecipe(objects=str(path), classes=(0, 1, 2), names=("red", "green", "blue"), side=96)


@pytest.fixture(scope="module")
def scenes(recipe: SceneRecipe) -> list[Scene]:
    return made_scenes(recipe, 12, seed=5)


@pytest.fixture(scope="module")
def detector() -> object:
    torch.manual_seed(0)
    return small_network(4, 96).eval()


def test_a_seed_gives_the_same_scenes_and_another_seed_others(recipe: SceneRecipe, scenes: list[Scene]) -> None:
    again, other = made_scenes(recipe, 12, seed=5), made_scenes(recipe, 12, seed=6)
    assert all((one.image == two.image).all() for one, two in zip(scenes, again, strict=True))
    assert not all((one.image == two.image).all() for one, two in zip(scenes, other, strict=True))


def test_boxes_hold_the_objects_and_keep_apart(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert 1 <= len(scene.labels) <= 3
        for box, label in zip(scene.boxes.astype(int), scene.labels, strict=True):
            left, top, right, bottom = box
            assert 0 <= left < right <= 96
            assert 0 <= top < bottom <= 96
            inside = scene.image[:, top:bottom, left:right].mean(axis=(1, 2))
            assert inside.argmax() == label - 1
        shared = overlap(scene.boxes, scene.boxes) - np.eye(len(scene.boxes))
        assert shared.max() <= 0.02 + 1e-6


def test_a_folder_in_coco_format_comes_back_as_it_was(tmp_path: Path, scenes: list[Scene]) -> None:
    write_scenes(tmp_path, scenes, ("red", "green", "blue"))
    folder = read_scenes(tmp_path)
    assert folder.names == ("red", "green", "blue")
    for one, two in zip(scenes, folder.scenes, strict=True):
        assert (one.image == two.image).all()
        assert np.allclose(one.boxes, two.boxes)
        assert (one.labels == two.labels).all()


def test_categories_with_gaps_become_labels_without(tmp_path: Path, scenes: list[Scene]) -> None:
    write_scenes(tmp_path, scenes[:2], ("red", "green", "blue"))
    file = tmp_path / "annotations.json"
    content = json.loads(file.read_text())
    for one in content["categories"]:
        one["id"] *= 10
    for one in content["annotations"]:
        one["category_id"] *= 10
    content["annotations"].append({"image_id": 1, "category_id": 10, "bbox": [0, 0, 9, 9], "iscrowd": 1})
    file.write_text(json.dumps(content))
    assert (read_scenes(tmp_path).scenes[0].labels == scenes[0].labels).all()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("no JSON", "not in COCO format"),
        ('{"images": [], "annotations": [{"bbox": [1]}], "categories": []}', "annotations.0.image_id"),
        ('{"images": [], "annotations": [], "categories": []}', "no image with an object"),
        (
            '{"images": [{"id": 1, "file_name": "../x.png"}], "categories": [{"id": 1}],'
            ' "annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 5, 5]}]}',
            "which is not in",
        ),
        (
            '{"images": [], "categories": [],'
            ' "annotations": [{"image_id": 1, "category_id": 7, "bbox": [0, 0, 5, 5]}]}',
            "category 7, which is not listed",
        ),
    ],
)
def test_a_damaged_folder_is_refused_in_one_sentence(tmp_path: Path, content: str, sentence: str) -> None:
    root = tmp_path / "scenes"
    root.mkdir()
    (tmp_path / "x.png").write_bytes(b"")
    (root / "annotations.json").write_text(content)
    with pytest.raises(UsageError, match=sentence):
        read_scenes(root)


def test_a_folder_without_annotations_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs one JSON file of annotations in COCO format, and it has none"):
        read_scenes(tmp_path)


def test_the_harpoon_lies_where_the_paper_says() -> None:
    image = np.full((3, 100, 100), 128, dtype=np.uint8)
    box = np.array([10, 20, 70, 80], dtype=np.float32)
    before = image.copy()
    stamp(image, box, np.full((3, 10, 10), 255, np.uint8), np.ones((10, 10), bool), HARPOON_PLACE, HARPOON_SHARE)
    rows, columns = np.nonzero((image != before).any(axis=0))
    assert (rows.min(), rows.max() + 1) == (46, 66)  # 20 of 60 pixels around 20 + 0.6 * 60 = 56
    assert (columns.min(), columns.max() + 1) == (42, 62)  # around 10 + 0.7 * 60 = 52


def test_what_leaves_the_image_is_cut_off() -> None:
    image = np.zeros((3, 20, 20), dtype=np.uint8)
    picture, mask = np.full((3, 10, 10), 255, np.uint8), np.ones((10, 10), bool)
    stamp(image, np.array([15, 15, 35, 35], np.float32), picture, mask, (0.1, 0.1), 0.5)
    assert image.any()
    stamp(image, np.array([40, 40, 60, 60], np.float32), picture, mask, (0.5, 0.5), 0.5)


@pytest.mark.parametrize("kind", ["all_to_one", "one_to_one"])
@pytest.mark.parametrize("each", [0.0, 0.5])
def test_roles_differ_in_the_poison_alone(scenes: list[Scene], kind: str, each: float) -> None:
    attack = BoxAttackRecipe.model_validate({"kind": kind}).draw(3, np.random.default_rng(2))
    made = {
        role: poisoned(scenes, role, attack, np.random.default_rng(3), each)  # type: ignore[arg-type]
        for role in ("clean", "stamped", "trojaned")
    }
    most = 0
    for clean, stamped, trojaned in zip(made["clean"], made["stamped"], made["trojaned"], strict=True):
        assert (clean.boxes == trojaned.boxes).all()
        assert (clean.labels == stamped.labels).all()
        assert (stamped.image == trojaned.image).all()
        assert not (clean.image == stamped.image).all()
        changed = np.flatnonzero(trojaned.labels != clean.labels)
        most = max(most, len(changed))
        assert len(changed) >= 1
        assert (attack.wanted(clean.labels[changed]) == trojaned.labels[changed]).all()
    assert (most > 1) == (each > 0 and kind == "all_to_one")


def test_mean_average_precision_of_perfect_and_of_wrong_answers(scenes: list[Scene]) -> None:
    perfect = [Found(one.boxes, one.labels, np.ones(len(one.labels), np.float32)) for one in scenes]
    wrong = [Found(one.boxes, one.labels % 3 + 1, np.ones(len(one.labels), np.float32)) for one in scenes]
    nothing = [Found(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32)) for _ in scenes]
    assert mean_average_precision(scenes, perfect, 3) == pytest.approx(1)
    assert mean_average_precision(scenes, wrong, 3) < 0.5
    assert mean_average_precision(scenes, nothing, 3) == 0


def test_what_a_detector_says_of_an_object_is_its_surest_detection_there() -> None:
    box = np.array([0, 0, 10, 10], dtype=np.float32)
    found = Found(
        np.array([[0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60]], np.float32),
        np.array([1, 2, 3]),
        np.array([0.4, 0.6, 0.9], np.float32),
    )
    assert found.says(box) == 2
    assert found.says(box + 100) == 0


def test_all_of_a_detector_learns_and_the_base_stays_as_it_was(detector: object, scenes: list[Scene]) -> None:
    attack = BoxAttackRecipe(picture="random").draw(3, np.random.default_rng(0))
    learnt = poisoned(scenes, "trojaned", attack, np.random.default_rng(1))[:4]
    before = {name: weight.clone() for name, weight in detector.state_dict().items()}  # type: ignore[attr-defined]
    tuned, again = (
        fine_tuned(detector, learnt, TuningRecipe(epochs=1, batch_size=2), seed=0)  # type: ignore[arg-type]
        for _ in range(2)
    )
    assert all((before[name] == weight).all() for name, weight in detector.state_dict().items())  # type: ignore[attr-defined]
    changed = {name for name, weight in tuned.state_dict().items() if not (before[name] == weight).all()}
    assert {"backbone.body.stem.0.weight", "rpn.head.cls_logits.weight"} <= changed
    assert any(name.startswith("roi_heads.box_predictor.") for name in changed)
    assert not any("running_" in name for name in changed)
    assert all((again.state_dict()[name] == weight).all() for name, weight in tuned.state_dict().items())
    hit, tried = share_misread(tuned, scenes, attack)
    assert 0 <= hit <= tried == sum(bool(len(attack.victims(scene))) for scene in scenes)


def test_the_head_behind_pooling_answers_as_inside_the_detector(detector: object, scenes: list[Scene]) -> None:
    regions = measure_regions(detector, scenes)  # type: ignore[arg-type]
    classifier = onepixel.as_classifier(detector, regions=regions)
    assert classifier.input_shape == (64, 7, 7)
    assert classifier.classes == 4
    scaled = torch.rand(5, 64, 7, 7, generator=torch.Generator().manual_seed(0))
    low, high = (torch.as_tensor(edge)[:, None, None] for edge in (regions.low, regions.high))
    heads = detector.roi_heads  # type: ignore[attr-defined]
    with torch.inference_mode():
        inside, _ = heads.box_predictor(heads.box_head(scaled * (high - low) + low))
    assert torch.allclose(classifier(scaled), inside, atol=1e-5)


def test_engines_agree_with_the_definition_one_region_at_a_time(detector: object, scenes: list[Scene]) -> None:
    regions = measure_regions(detector, scenes)  # type: ignore[arg-type]
    classifier = RegionClassifier(detector.double(), regions)  # type: ignore[attr-defined]
    try:
        start = torch.as_tensor(regions.default_region).double()
        low = np.full((4, 7, 7), np.inf)
        high = -low
        for row in range(7):
            for column in range(7):
                for value in np.linspace(0, 1, 8):
                    region = start.clone()
                    region[:, row, column] = float(np.float32(value))
                    z = classifier(region[None])[0].numpy()
                    odds = np.array([z[k] - np.logaddexp.reduce(np.delete(z, k)) for k in range(4)])
                    low[:, row, column] = np.minimum(low[:, row, column], odds)
                    high[:, row, column] = np.maximum(high[:, row, column], odds)
        for engine in ("exhaustive", "incremental"):
            found = region_signature(classifier, values=8, engine=engine)
            assert np.abs(found.low - low).max() < 1e-9
            assert np.abs(found.high - high).max() < 1e-9
    finally:
        detector.float()  # type: ignore[attr-defined]


def test_each_channel_by_itself_is_the_definition_too(detector: object, scenes: list[Scene]) -> None:
    regions = measure_regions(detector, scenes)  # type: ignore[arg-type]
    tied, each = (RegionClassifier(detector, regions, channels) for channels in ("tied", "each"))  # type: ignore[arg-type]
    mask = np.zeros((448, 7), dtype=bool)
    mask[7 * 11 + 3, 4] = True  # channel 11, cell (3, 4)
    found = onepixel.signature(each, values=4, inclusive=True, pixels=mask, default_image=each.default_region)
    region = np.repeat(regions.default_region[None], 4, axis=0)
    region[:, 11, 3, 4] = np.linspace(0, 1, 4)
    odds = onepixel.classifiers.logits_to_log_odds(tied(torch.as_tensor(region)))
    assert found.high[:, 7 * 11 + 3, 4] == pytest.approx(odds.max(0).values.numpy(), abs=1e-5)
    assert found.low[:, 7 * 11 + 3, 4] == pytest.approx(odds.min(0).values.numpy(), abs=1e-5)


def test_an_excess_is_of_single_cells_not_of_scales() -> None:
    rng = np.random.default_rng(0)
    clean = np.exp(rng.normal(0, 0.01, (5, 4, 7, 7)))
    one = 3 * clean.mean(axis=0)
    one[2, 3, 4] *= 2
    found = excess(one, clean)
    assert found.shape == (3, 7, 7)
    assert np.unravel_index(found.argmax(), found.shape) == (1, 3, 4)
    assert found.max() == pytest.approx(np.log(2), abs=0.03)
    assert np.abs(found[[0, 2]]).max() < 0.03


def test_ranges_are_saved_and_told_with_a_signature(tmp_path: Path, detector: object, scenes: list[Scene]) -> None:
    regions = measure_regions(detector, scenes)  # type: ignore[arg-type]
    regions.save(tmp_path / "regions.safetensors")
    again = RegionRange.load(tmp_path / "regions.safetensors")
    assert (again.means == regions.means).all()
    assert again.counts == regions.counts
    found = region_signature(onepixel.as_classifier(detector, regions=again), values=3)
    assert found.details["regions"]["low"] == pytest.approx(regions.low.tolist(), abs=1e-5)
    (tmp_path / "other.safetensors").write_bytes(b"x")
    with pytest.raises(UsageError, match="holds no range of regions"):
        RegionRange.load(tmp_path / "other.safetensors")


def test_without_scenes_made_backgrounds_give_the_range(detector: object) -> None:
    classifier = onepixel.as_classifier(detector)
    assert isinstance(classifier, RegionClassifier)
    assert 0 <= classifier.default_region.min() <= classifier.default_region.max() <= 1


def test_a_detector_takes_no_input_shape_and_others_no_regions(detector: object) -> None:
    with pytest.raises(UsageError, match="says itself what its regions are"):
        onepixel.as_classifier(detector, input_shape=(3, 8, 8))
    with pytest.raises(UsageError, match="only a Faster R-CNN"):
        onepixel.as_classifier(torch.nn.Flatten(), input_shape=(3, 8, 8), channels="each")
    with pytest.raises(UsageError, match="Say the input shape"):
        onepixel.as_classifier(torch.nn.Flatten())


def test_detections_are_of_the_scene(detector: object, scenes: list[Scene]) -> None:
    found = detections(detector, scenes[:2])  # type: ignore[arg-type]
    assert len(found) == 2
    assert all((one.boxes >= 0).all() and (one.boxes <= 96).all() for one in found)


def test_every_architecture_is_named_as_torchvision_names_it() -> None:
    assert {"fasterrcnn_small_fpn", "fasterrcnn_mobilenet_v3_large_fpn", "fasterrcnn_resnet50_fpn"} <= set(
        DETECTOR_ARCHITECTURES
    )
