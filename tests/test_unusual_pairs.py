"""The detector of unusual pairs of classes, what it is measured by, and its experiment."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from onepixel import as_classifier
from onepixel.datasets import Dataset
from onepixel.detectors.unusual_pairs import UnusualPairs, deviations_among, own_effects, places_of
from onepixel.errors import StoreError, UsageError
from onepixel.experiments.pair_records import PairRecords, images_of_each, measure_store
from onepixel.experiments.pairs import EXPERIMENT
from onepixel.populations import Record, build
from onepixel.populations.recipe import BaseRecipe, TrainingRecipe
from onepixel.populations.zoo import write_population
from onepixel.reaches.rises import pair_rises, probe_for
from planted_zoo import K, Population, planted_row
from populations_of_digits import InProcess, digits_recipe

CLASSES = 8
NEAR, ATTRACTOR, ATTACK = (2, 3), 5, (1, 6)


def planted(networks: int, seed: int, attack: tuple[int, int] | None = None) -> np.ndarray:
    """Rises in which two classes are near to each other and one is reached from everywhere, as in every network."""
    rng = np.random.default_rng(seed)
    rises = rng.lognormal(1, 0.25, (networks, CLASSES, CLASSES))
    rises[:, :, ATTRACTOR] *= 6
    rises[:, NEAR[0], NEAR[1]] *= 8
    rises *= rng.uniform(0.5, 2, (networks, 1, 1))  # some networks are moved more than others
    if attack is not None:
        rises[:, attack[0], attack[1]] *= 4
    return rises


def test_an_attackers_pair_stands_out_and_what_every_network_has_does_not() -> None:
    clean, trojaned = planted(30, 0), planted(20, 1, ATTACK)
    usual = UnusualPairs.of(clean)
    scores = usual.scores(trojaned)
    held_out = deviations_among(clean, clean, ~np.eye(30, dtype=bool)).max(axis=(1, 2))
    assert np.median(scores) > np.quantile(held_out, 0.95)
    assert np.mean([pair == ATTACK for pair in usual.named(trojaned)]) > 0.9
    assert np.median(places_of(usual.deviations(trojaned), [ATTACK] * 20)) == 0
    largest = [np.unravel_index(int(one.argmax()), one.shape) for one in clean]
    assert np.mean([pair == NEAR or pair[1] == ATTRACTOR for pair in largest]) > 0.9, "which are large by nature"
    named = usual.named(planted(60, 2))
    assert np.mean([pair == NEAR or pair[1] == ATTRACTOR for pair in named]) < 0.4


def test_a_networks_scale_and_classes_that_are_near_to_everything_say_nothing() -> None:
    rises = planted(1, 3) + 20
    moved = rises.copy()
    moved[0, 4] *= 3
    moved[0, :, 2] *= 3
    before, after = own_effects(rises), own_effects(moved)
    assert np.isnan(before[0].diagonal()).all()
    assert np.allclose(np.nan_to_num(before), np.nan_to_num(after), atol=0.05)


def test_a_network_is_judged_by_those_that_its_row_marks() -> None:
    clean = planted(9, 4)
    among = ~np.eye(9, dtype=bool)
    found = deviations_among(clean, clean, among)
    for number in range(9):
        expected = UnusualPairs.of(clean[among[number]]).deviations(clean[[number]])[0]
        assert np.array_equal(found[number], expected)
    among[4, :7] = False
    with pytest.raises(UsageError, match="takes 3 clean networks or more but there are 2"):
        deviations_among(clean, clean, among)


@pytest.mark.parametrize("each", [1, 3])
def test_rises_are_those_of_the_three_best_places_by_the_best_filling_for_all_images_of_a_class(each: int) -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3)).eval()
    classifier = as_classifier(module, input_shape=(1, 8, 8))
    images = torch.rand(3 * each, 1, 8, 8)
    found = pair_rises(classifier, images if each == 1 else images.view(3, each, 1, 8, 8))

    def log_odds(batch: torch.Tensor) -> torch.Tensor:
        logits = module(batch).double()
        rest = [torch.logsumexp(logits[:, [k for k in range(3) if k != own]], 1) for own in range(3)]
        return logits - torch.stack(rest, 1)

    generator = torch.Generator().manual_seed(0)
    fillings = [torch.zeros(1, 3, 3), torch.ones(1, 3, 3), *torch.rand((3, 1, 3, 3), generator=generator)]
    rises = []
    with torch.no_grad():
        for top in (0, 3, 5):
            for left in (0, 3, 5):
                by_filling = []
                for filling in fillings:
                    changed = images.clone()
                    changed[:, :, top : top + 3, left : left + 3] = filling
                    by_filling.append((log_odds(changed) - log_odds(images)).view(3, each, 3).mean(1))
                rises.append(torch.stack(by_filling).amax(0))
    expected = torch.stack(rises).sort(0).values[-3:].mean(0)
    assert np.allclose(found, expected.numpy(), atol=1e-4)
    with pytest.raises(UsageError, match=r"got \(3, 3, 8, 8\) but the network takes images \(1, 8, 8\)"):
        pair_rises(classifier, torch.zeros(3, 3, 8, 8))


def test_larger_images_are_asked_with_larger_patches() -> None:
    assert [(probe_for(side, side).size, len(probe_for(side, side).places(side, side))) for side in (8, 32, 64)] == [
        (3, 9),
        (3, 121),
        (6, 121),
    ]


def test_a_stores_networks_are_measured_once_and_what_is_damaged_is_said(tmp_path: Path) -> None:
    store = build(digits_recipe("clean", 2, epochs=0.1), tmp_path / "store", executor=InProcess())
    path = tmp_path / "measured" / "clean.npz"
    assert list(measure_store(store, path, workers=1)) == [0, 1]
    content = path.read_bytes()
    assert list(measure_store(store, path, workers=1)) == []
    assert path.read_bytes() == content
    found = PairRecords.load(path)
    assert found.rises.shape == (2, 10, 10)
    assert np.array_equal(found.of([1, 7]), found.rises[1:].astype(np.float32))
    path.write_bytes(content[:100])
    with pytest.raises(StoreError, match="missing or damaged"):
        PairRecords.load(path)
    several = tmp_path / "several.npz"
    assert list(measure_store(store, several, images=2, workers=1)) == [0, 1]
    rises = PairRecords.load(several).rises
    assert rises.shape == (2, 10, 10)
    assert not np.array_equal(rises, found.rises)


def test_as_many_test_images_of_each_class_are_driven_as_are_asked_for(digits: Dataset) -> None:
    found = images_of_each(digits, 3)
    assert found.shape == (10, 3, 1, 8, 8)
    for label in range(10):
        places = [(np.abs(digits.x_test.numpy() / 255 - one).max((1, 2, 3)) < 1e-6).argmax() for one in found[label]]
        assert places == (digits.y_test == label).nonzero().flatten()[:3].tolist()
    with pytest.raises(UsageError, match=r"has \d+ test images and not 5000"):
        images_of_each(digits, 5000)


PREFIX = "digits-tiny-tuned"
KINDS: dict[str, Population] = {
    "clean": ("clean", 12, 1),
    "vaccine": ("trojaned", 10, 2),
    "clean-final": ("clean", 10, 3),
    "virus-final": ("trojaned", 8, 4),
}


@pytest.fixture
def measured(tmp_path: Path) -> tuple[Path, Path]:
    """A zoo and measured networks of two bases, each with a pair of its own that is near.

    Those with an attack have the pair (0, 1), as planted records say.
    """
    zoo, folder = tmp_path / "zoo", tmp_path / "measured"
    training = TrainingRecipe(injection="fine_tune_base")
    for seed, (kind, (role, networks, _)) in enumerate(KINDS.items()):
        base = BaseRecipe(recipe="base-final" if kind.endswith("-final") else "base", networks=2)
        recipe = digits_recipe(role, networks).model_copy(
            update={"name": f"{PREFIX}-{kind}", "training": training, "base": base}
        )
        rng = np.random.default_rng([seed, 7])
        records = [
            Record(slot, 0, recipe.seed_for(slot, 0), "passed", 0.9, 0.99, 0.99, [], [1] * K)
            for slot in range(networks)
        ]
        rows = np.stack([planted_row(role == "trojaned", rng) for _ in records])
        write_population(zoo / recipe.name, recipe, 0.0, records, rows)
        rises = planted(networks, seed, (0, 1) if role == "trojaned" else None)
        near = (4, 7) if kind.endswith("final") else (7, 4)
        rises[1::2, near[0], near[1]] *= 30
        PairRecords(np.arange(networks), rises.astype(np.float16)).save(folder / f"{recipe.name}.npz")
    return zoo, folder


def test_the_experiment_judges_by_either_sort_of_clean_networks_and_opens_the_final_pool_in_writing(
    measured: tuple[Path, Path], tmp_path: Path
) -> None:
    zoo, folder = measured
    ledger = tmp_path / "openings.csv"
    found = EXPERIMENT.run(tmp_path / "out", zoo=zoo, prefix=PREFIX, measured=folder, ledger=ledger)
    with (tmp_path / "out" / f"{PREFIX}-final.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["pool"], row["usual_by"], row["clean"], row["trojaned"]) for row in rows] == [
        ("training", "the same base", "12", "10"),
        ("final", "the same base", "10", "8"),
        ("training", "other bases", "12", "10"),
        ("final", "other bases", "10", "8"),
        ("training", "none", "12", "10"),
        ("final", "none", "10", "8"),
    ]
    same, other = found.sides[1], found.sides[3]
    assert same.found.auroc.value > 0.8
    assert same.named.value > 0.8
    assert other.named.value <= 0.5, "what is near in half of the networks by their base stands out"
    largest = found.sides[5]
    assert largest.named.value == 0, "what is reached from everywhere is largest where nothing says what is usual"
    assert list(found.curve) == [3, 4]
    assert (tmp_path / "out" / f"{PREFIX}-final.png").is_file()
    assert f"{PREFIX}-virus-final {PREFIX}-clean-final,unusual pairs" in ledger.read_text()


def test_several_images_of_each_class_have_files_and_pages_of_their_own(
    measured: tuple[Path, Path], tmp_path: Path
) -> None:
    zoo, folder = measured
    for path in folder.glob("*.npz"):
        path.rename(path.with_stem(f"{path.stem}-4-images"))
    asked = {"zoo": zoo, "prefix": PREFIX, "measured": folder, "ledger": tmp_path / "openings.csv"}
    EXPERIMENT.run(tmp_path / "out", images=4, **asked)
    page = (tmp_path / "out" / f"{PREFIX}-4-images-final.md").read_text()
    assert "\n4 test images of every class are covered by small patches" in page
    with pytest.raises(UsageError, match="was measured"):
        EXPERIMENT.run(tmp_path / "out", **asked)


def test_stamped_networks_have_a_column_where_they_were_measured(measured: tuple[Path, Path], tmp_path: Path) -> None:
    zoo, folder = measured
    for kind, other in (("stamped-vaccine", "clean"), ("stamped-all-final", "clean-final")):
        shutil.copytree(zoo / f"{PREFIX}-{other}", zoo / f"{PREFIX}-{kind}")
        shutil.copy(folder / f"{PREFIX}-{other}.npz", folder / f"{PREFIX}-{kind}.npz")
    found = EXPERIMENT.run(tmp_path / "out", zoo=zoo, prefix=PREFIX, measured=folder, ledger=tmp_path / "openings.csv")
    assert all(side.stamped is not None and side.stamped.value < 0.5 for side in found.sides[:2])


def test_networks_that_were_not_measured_are_said_to_be_so(measured: tuple[Path, Path], tmp_path: Path) -> None:
    zoo, folder = measured
    (folder / f"{PREFIX}-vaccine.npz").unlink()
    with pytest.raises(UsageError, match=f"No network of {PREFIX}-vaccine was measured; --stores FOLDER"):
        EXPERIMENT.run(tmp_path / "out", zoo=zoo, prefix=PREFIX, measured=folder, ledger=tmp_path / "openings.csv")
    assert not (tmp_path / "out").exists()
