"""Leaving one kind out: each kind is judged by what all others fix, from rows that were measured once."""

from pathlib import Path

import pytest

from onepixel.detectors.universal_calibration import read_calibrations
from onepixel.errors import UsageError
from onepixel.experiments import any_classifier
from onepixel.experiments.any_classifier import Options, judged
from onepixel.experiments.declared import Laboratory
from onepixel.experiments.reach_records import Network, append_network, read_networks, write_networks


def one(kind: str, role: str, slot: int, reach: float, *, named: int = 3) -> Network:
    parts = dict(zip(any_classifier.PARTS, (reach, reach - 8, 0.0, reach), strict=True))
    targets = (3,) if role == "trojaned" else ()
    return Network(kind, role, f"{kind}-{role}", slot, targets, "gradient", 100, dict.fromkeys(parts, named), parts)


def networks() -> list[Network]:
    found = []
    for number, kind in enumerate(("a", "b", "c")):
        found += [one(kind, "clean", slot, number + slot / 10) for slot in range(10)]
        found += [one(kind, "stamped", slot, number + slot / 10) for slot in range(2)]
        found += [one(kind, "trojaned", slot, 12 + slot, named=3 if slot else 4) for slot in range(4)]
    return found


def write(folder: Path) -> None:
    for kind in ("a", "b", "c"):
        rows = [network for network in networks() if network.kind == kind]
        (folder / "gradient").mkdir(exist_ok=True)
        write_networks(folder / "gradient" / f"{kind}.csv", rows)


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    write_networks(tmp_path / "a.csv", networks())
    assert read_networks(tmp_path / "a.csv") == networks()


def test_rows_that_are_appended_read_like_rows_that_were_written_at_once(tmp_path: Path) -> None:
    for network in networks():
        append_network(tmp_path / "made" / "a.csv", network)
    write_networks(tmp_path / "b.csv", networks())
    assert (tmp_path / "made" / "a.csv").read_text() == (tmp_path / "b.csv").read_text()


def test_a_kind_that_is_left_out_moves_neither_its_threshold_nor_the_scale_of_its_scores() -> None:
    usual = judged(networks(), "a")
    other = [network for network in networks() if network.kind != "a"] + [
        one("a", "clean", 0, 500.0),
        one("a", "trojaned", 0, 12.0),
    ]
    moved = judged(other, "a")
    assert moved.threshold == usual.threshold
    assert moved.trojaned[0] == usual.trojaned[0]
    assert moved.flagged(moved.clean) == 1


def test_table_of_kinds_and_calibration_are_made_from_rows_alone(tmp_path: Path) -> None:
    write(tmp_path)
    options = Options(networks=tmp_path, calibration=tmp_path / "calibration.json")
    result = any_classifier.find(options, Laboratory())
    rows = {row[0]: dict(zip(result.head, row, strict=True)) for row in result.rows}
    assert set(rows) == {"a", "b", "c"}
    assert (rows["a"]["clean"], rows["a"]["trojaned"], rows["a"]["stamped"]) == (10, 4, 2)
    assert float(rows["a"]["auroc"]) == 1
    assert float(rows["a"]["target_named"]) == 0.75
    # The kind that reaches farthest by itself is judged by kinds that reach less far.
    assert float(rows["c"]["false_alarm_rate"]) > float(rows["a"]["false_alarm_rate"])
    calibration = read_calibrations(tmp_path / "calibration.json")["gradient"]
    assert set(calibration.clean) == {"a", "b", "c"}
    assert "3 of 4" in result.text


def test_no_measured_networks_is_said_with_the_command_that_measures(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--stores FOLDER"):
        any_classifier.find(Options(networks=tmp_path), Laboratory())
