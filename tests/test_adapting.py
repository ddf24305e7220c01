"""Clean networks of one's own as the universal detector's reference."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from onepixel.cli import main
from onepixel.datasets import load_dataset
from onepixel.detectors.adapting import OWN, adapted
from onepixel.detectors.universal import UniversalDetector
from onepixel.detectors.universal_calibration import Calibration, read_calibrations
from onepixel.errors import UsageError
from onepixel.experiments import adapting, reach_records
from onepixel.experiments.reach_records import Network
from onepixel.populations import Recipe, Store, build_slot
from onepixel.populations.store import Finished

SHIPPED = Calibration(
    {"patch_pair": (1.0, 2.0), "patch_pair_lead": (0.0, 1.0)}, {"one": (0.0, 1.0)}, {"one": (5.0,)}, 1.0
)


def own(values: list[float]) -> list[dict[str, float]]:
    return [{"patch_pair": value, "patch_pair_lead": 0.1} for value in values]


def test_own_networks_give_the_centre_and_the_largest_left_out_score_the_threshold() -> None:
    found = adapted(SHIPPED, own([4.0, 5.0, 6.0, 9.0]))
    assert found.parts == {"patch_pair": (5.5, 2.0), "patch_pair_lead": (0.1, 1.0)}
    assert found.clean[OWN] == pytest.approx((0.0, 0.0, 0.5, 2.0))  # the last: (9 - 5) / 2
    assert found.threshold == pytest.approx(2.0, abs=1e-4)
    assert found.trojaned == SHIPPED.trojaned
    with pytest.raises(UsageError, match="3 are needed"):
        adapted(SHIPPED, own([1.0, 2.0]))


def test_about_one_in_eleven_further_clean_networks_is_called_trojaned() -> None:
    rng = np.random.default_rng(0)
    alarms = []
    for _ in range(200):
        *reference, further = own(rng.normal(7, 1, size=11).tolist())
        found = adapted(SHIPPED, reference)
        alarms.append(found.score(further)[0] >= found.threshold)
    assert 0.04 < np.mean(alarms) < 0.15


class InThisProcess:
    """Trains networks here, without starting workers."""

    def run(self, recipe: Recipe, slots: Sequence[int]) -> Iterator[Finished]:
        dataset = load_dataset(recipe.dataset)
        for slot in slots:
            yield build_slot(recipe, slot, dataset)


def test_networks_are_trained_measured_and_become_what_an_audit_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measured(store: Store, slot: int, search: str) -> Network:
        parts = {name: 1.0 + slot for name in read_calibrations()[search].parts}
        about = ("own", "clean", store.recipe.name, slot, (), search, 9, 1.0, 0.0)
        return Network(*about, named=dict.fromkeys(parts, 0), parts=parts)

    monkeypatch.setattr(reach_records, "measure_network", measured)
    recipe = adapting.own_recipe("digits", "digits_cnn", 3, epochs=0.1)
    count, threshold = adapting.adapt(recipe, tmp_path / "store", tmp_path / "own.json", executor=InThisProcess())
    found = UniversalDetector.load(tmp_path / "own.json").calibrations["gradient"]
    assert (count, len(found.clean[OWN])) == (3, 3)
    assert {centre for centre, _ in found.parts.values()} == {2.0}
    assert found.threshold == pytest.approx(threshold, abs=1e-3)
    assert json.loads((tmp_path / "own.json").read_text())["about"]["of"] == "digits_cnn on digits"

    monkeypatch.setattr(adapting, "adapt", lambda *arguments, **options: (count, threshold))
    command = ["detector", "adapt", "--architecture", "digits_cnn", "--dataset", "digits", "--quiet", "--output"]
    assert main([*command, str(tmp_path / "own.json")]) == 0
    assert "3 clean networks of digits_cnn on digits" in capsys.readouterr().out
    assert main([*command, str(tmp_path / "own.txt")]) == 2
    assert "expected FILE.json" in " ".join(capsys.readouterr().err.split())
