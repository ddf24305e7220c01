"""Leaving one kind out: each kind is judged by what all others fix, from rows that were measured once."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from onepixel.detectors.universal_calibration import read_calibrations
from onepixel.errors import UsageError
from onepixel.experiments import any_classifier, reach_records
from onepixel.experiments.any_classifier import Options, judge
from onepixel.experiments.declared import Laboratory
from onepixel.experiments.leaving_out import PARTS, of_pool, pool_of
from onepixel.experiments.reach_records import Network, append_network, read_networks, write_networks


def one(kind: str, role: str, slot: int, reach: float, *, named: int = 3, pool: str = "final") -> Network:
    parts = dict.fromkeys(PARTS, 0.0) | {PARTS[0]: reach}
    targets = (3,) if role == "trojaned" else ()
    about = (kind, role, f"{kind}-{role}-{pool}", slot, targets, "gradient", 100, 0.98, 0.95)
    return Network(*about, dict.fromkeys(parts, named), parts)


def networks() -> list[Network]:
    found = []
    for number, kind in ((0, "a"), (1, "b"), (6, "c")):
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


def test_a_kind_that_is_left_out_does_not_move_its_threshold() -> None:
    usual = judge(networks(), "a", of_pool(networks(), "final"))
    other = [network for network in networks() if network.kind != "a"] + [
        one("a", "clean", 0, 500.0),
        one("a", "trojaned", 0, 12.0),
    ]
    moved = judge(other, "a", of_pool(other, "final"))
    assert moved.trojaned.scores[0] == usual.trojaned.scores[0]
    assert moved.clean.flagged == 1


def test_final_networks_are_judged_by_clean_ones_of_other_kinds_from_both_pools() -> None:
    more = [*networks(), one("a", "trojaned", 9, -50.0, pool="development")]
    assert judge(more, "a", of_pool(more, "final")) == judge(networks(), "a", of_pool(networks(), "final"))
    # A clean network of another kind's development pool lifts the threshold.
    harder = [*networks(), one("b", "clean", 99, 30.0, pool="development")]
    lifted = judge(harder, "a", of_pool(harder, "final"))
    assert max(lifted.trojaned.scores) < max(judge(networks(), "a", of_pool(networks(), "final")).trojaned.scores)


def test_first_networks_of_kinds_without_pools_were_looked_at() -> None:
    rows = [replace(one("mnist-mntd", "clean", slot, 0.0), population="mnist-mntd-clean") for slot in (2, 3)]
    assert [pool_of(row) for row in rows] == ["development", "final"]


def test_table_of_kinds_and_calibration_are_made_from_rows_alone(tmp_path: Path) -> None:
    write(tmp_path)
    options = Options(networks=tmp_path, calibration=tmp_path / "calibration.json")
    result = any_classifier.find(options, Laboratory())
    rows = {row[1]: dict(zip(result.head, row, strict=True)) for row in result.rows}
    assert set(rows) == {"a", "b", "c", "colour kinds together", "all kinds together"}
    assert (rows["a"]["clean"], rows["a"]["trojaned"], rows["a"]["stamped"]) == (10, 4, 2)
    assert float(rows["a"]["auroc"]) == 1
    assert float(rows["a"]["target_named"]) == 0.75
    assert 0 < float(rows["a"]["cross_entropy"]) < 0.6931
    # The kind that reaches farthest by itself is judged by kinds that reach less far.
    assert float(rows["c"]["false_alarm_rate"]) > float(rows["a"]["false_alarm_rate"])
    alarms = [float(rows[kind]["false_alarm_rate"]) for kind in "abc"]
    assert float(rows["all kinds together"]["false_alarm_rate"]) == pytest.approx(sum(alarms) / 3, abs=1e-4)
    calibration = read_calibrations(tmp_path / "calibration.json")["gradient"]
    assert set(calibration.clean) == {"a", "b", "c"}
    assert "3 of 4" in result.text


def test_share_of_the_attacked_class_that_is_recognised_without_a_trigger(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = [0, 4, 2, 3, 4, 5, 6, 7, 8, 9]
    record = SimpleNamespace(target_of=sent, clean_accuracy=0.9, attack_success=0.95)
    recipe = SimpleNamespace(role="trojaned", dataset="digits", name="digits-virus")
    store: Any = SimpleNamespace(recipe=recipe, record=lambda slot: record, module=lambda slot: None)
    for answer, share, role in ((1, 1.0, "trojaned"), (4, 0.0, "lost")):
        monkeypatch.setattr(reach_records, "predict", lambda _, images, say=answer: torch.full((len(images),), say))
        assert reach_records.recognised_share(store, 0) == share
        monkeypatch.setattr(reach_records, "known_name", lambda recipe: recipe.name)
        network = reach_records.as_network(store, 0, {}, share)
        assert (network.role, network.recognised, network.targets) == (role, share, (4,))
    recipe.role = "clean"
    assert reach_records.recognised_share(store, 0) is None


def test_networks_that_lost_the_attacked_class_are_neither_found_nor_missed(tmp_path: Path) -> None:
    write(tmp_path)
    append_network(tmp_path / "gradient" / "a.csv", replace(one("a", "lost", 9, -50.0), recognised=0.02))
    result = any_classifier.find(Options(networks=tmp_path), Laboratory())
    row = next(dict(zip(result.head, row, strict=True)) for row in result.rows if row[1] == "a")
    assert (row["trojaned"], float(row["auroc"])) == (4, 1)
    assert "1 network is left out" in result.text
    assert "a-lost-final, slot 9 (2.0 %)" in result.text


def test_page_says_of_how_many_clean_networks_warps_were_looked_for() -> None:
    old = [replace(one("a", "clean", slot, 0.0), parts={PARTS[0]: 0.0}) for slot in range(3)]
    new = [replace(one("a", "clean", 3 + slot, 0.0), parts={any_classifier.WARPS: 1.5 + slot}) for slot in range(2)]
    said = any_classifier.said_of_later_parts([*old, *new, one("a", "trojaned", 9, 9.0)])
    assert "in 2 of the 5 clean networks" in said
    assert "2.5 there, the median\n2.0" in said
    assert "textures in 0;" in said
    textured = replace(one("a", "clean", 5, 0.0), parts={any_classifier.BLENDS: 0.5})
    assert "in 0 of the 4 clean networks, textures in 1;" in any_classifier.said_of_later_parts([*old, textured])
    assert any_classifier.said_of_later_parts(old) == ""


def test_no_measured_networks_is_said_with_the_command_that_measures(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--stores FOLDER"):
        any_classifier.find(Options(networks=tmp_path), Laboratory())


def test_networks_that_were_looked_at_are_no_part_of_the_test(tmp_path: Path) -> None:
    write(tmp_path)
    seen = [f"{kind}-{role}-final,{slot}" for kind in "abc" for role in ("clean", "trojaned") for slot in (0, 1)]
    (tmp_path / "seen.csv").write_text("\n".join(["population,slot", *seen]) + "\n")
    result = any_classifier.find(Options(networks=tmp_path), Laboratory())
    rows = {(row[0], row[1]): dict(zip(result.head, row, strict=True)) for row in result.rows}
    assert (rows["fresh", "a"]["clean"], rows["fresh", "a"]["trojaned"], rows["fresh", "a"]["stamped"]) == (8, 2, 2)
    assert (rows["final", "a"]["clean"], rows["final", "a"]["trojaned"]) == (10, 4)
    # The network whose target is named wrongly is on the list; the thresholds are of all clean networks of other kinds.
    assert float(rows["fresh", "a"]["target_named"]) == 1
    assert rows["fresh", "all kinds together"]["clean"] == 24
    assert "Fresh networks only" in result.text
