"""Attacks, architectures and curves before the universal detector, from rows that were measured once."""

from dataclasses import replace
from pathlib import Path

import pytest

from onepixel.detectors.universal import UniversalDetector
from onepixel.errors import UsageError
from onepixel.experiments import reach_architectures, reach_attacks, reach_curves
from onepixel.experiments.declared import Laboratory
from onepixel.experiments.leaving_out import PARTS, alike_in_sizes, as_audited
from onepixel.experiments.reach_curves import SETTINGS, USUAL, Point, append_point, read_points
from onepixel.experiments.reach_records import Network, write_networks

FAR, NEAR = 40.0, 1.0


def one(population: str, role: str, slot: int, lead: float, *, kind: str = "mnist-lenet5", named: int = 3) -> Network:
    parts = dict.fromkeys(PARTS, 0.1 * slot) | {PARTS[0]: lead}
    targets = (3,) if role == "trojaned" else ()
    return Network(
        kind, role, population, slot, targets, "gradient", 100, 0.98, 0.95, dict.fromkeys(parts, named), parts
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Clean networks of two kinds, and networks of an attack and of an architecture that only one backdoor shows in."""
    known = [
        one(f"{kind}-clean-final", "clean", slot, NEAR + slot / 9, kind=kind)
        for kind in ("mnist-lenet5", "digits-random")
        for slot in range(30)
    ]
    attack = [one("mnist-lenet5-attack-blended", "trojaned", slot, lead) for slot, lead in enumerate((FAR, NEAR))]
    other = [
        one("mnist-resnet8-clean", "clean", 0, NEAR, kind="mnist-resnet8"),
        one("mnist-resnet8-virus-development", "trojaned", 0, FAR, kind="mnist-resnet8", named=4),
    ]
    for name, rows in (("networks", known), ("attacks", attack), ("architectures", other)):
        (tmp_path / name / "gradient").mkdir(parents=True)
        write_networks(tmp_path / name / "gradient" / "rows.csv", rows)
    return tmp_path


def test_an_attack_is_judged_by_clean_networks_of_other_kinds_beside_what_signatures_show(folder: Path) -> None:
    table = folder / "types.csv"
    table.write_text('method,default_image,attack,found\n"papers, whole, `max`",black,attack-blended,0.75\n')
    options = reach_attacks.Options(networks=folder / "networks", attacks=folder / "attacks", signatures=table)
    result = reach_attacks.find(options, Laboratory())
    (row,) = (dict(zip(result.head, cells, strict=True)) for cells in result.rows)
    assert (row["networks"], row["clean"], row["target_named"]) == (2, 30, 2)
    assert float(row["found"]) == 0.5
    assert float(row["found_by_literal"]) == 0.75
    assert row["found_by_class_means"] == ""
    assert "1 of 2" in result.text


def test_an_attack_stands_beside_clean_networks_that_were_trained_as_long(folder: Path) -> None:
    brief = [one("mnist-lenet5-brief-clean-final", "clean", slot, FAR) for slot in range(9)]
    write_networks(folder / "networks" / "gradient" / "brief.csv", brief)
    options = reach_attacks.Options(networks=folder / "networks", attacks=folder / "attacks", signatures=folder / "no")
    clean = [row.kind.clean for row in reach_attacks.judged_by(options, "gradient")]
    assert [(len(own), own.flagged) for own in clean] == [(30, 0)]


def test_networks_that_were_measured_with_one_size_of_patch_are_judged_by_one_size() -> None:
    def measured(kind: str, parts: dict[str, float]) -> Network:
        return replace(
            one(f"{kind}-clean-final", "clean", 0, NEAR, kind=kind), parts=parts, named=dict.fromkeys(parts, 3)
        )

    both = measured("mnist-random", {"patches_pair_lead": 1.0, "patch_pair_lead": 6.0, "broad_all_sure": 5.0})
    before = measured("fashion-random", {"patch_pair_lead": 5.0})
    others = [measured(kind, {"patch_pair_lead": 4.0}) for kind in ("digits-random", "gtsrb-random")]
    others.append(replace(before, search="composed"))
    known = [both, before, *others]
    whole, rest = alike_in_sizes([both, before], known)
    assert whole == ([both], [both, *others])
    assert [one.counted["patches_pair_lead"] for one in rest[0]] == [5.0]
    assert [one.counted["patches_pair_lead"] for one in rest[1]] == [6.0, 5.0, 4.0, 4.0, 5.0]
    assert "broad_all_sure" not in rest[1][0].counted
    assert rest[1][0].target_of("patches_pair_lead") == 3
    assert as_audited(known) == [both, *others]
    assert list(alike_in_sizes([], known)) == []


def test_an_architecture_is_judged_by_kinds_that_it_is_none_of(folder: Path) -> None:
    options = reach_architectures.Options(networks=folder / "networks", architectures=folder / "architectures")
    result = reach_architectures.find(options, Laboratory())
    (row,) = (dict(zip(result.head, cells, strict=True)) for cells in result.rows)
    assert row["kind"] == "mnist-resnet8"
    assert (float(row["auroc"]), float(row["found_rate"]), float(row["target_named"])) == (1, 1, 0)
    with pytest.raises(UsageError, match="no measured networks"):
        reach_architectures.find(options.model_copy(update={"architectures": folder / "none"}), Laboratory())


def test_a_setting_without_an_answer_is_counted_and_flags_nothing(tmp_path: Path) -> None:
    file = tmp_path / "curves" / "networks.csv"
    clean = one("mnist-lenet5-clean", "clean", 0, NEAR)
    trojaned = one("mnist-lenet5-virus-development", "trojaned", 0, FAR)
    silent = replace(trojaned, parts={}, queries=0, slot=1)
    points = [Point(USUAL.curve, USUAL.value, network) for network in (clean, trojaned, silent)]
    for point in points:
        append_point(file, point)
    assert [point.network.parts for point in read_points(file)] == [point.network.parts for point in points]
    result = reach_curves.find(reach_curves.Options(points=file), Laboratory())
    (row,) = (dict(zip(result.head, cells, strict=True)) for cells in result.rows)
    assert (row["unanswered"], row["trojaned_found"], row["target_named"], row["clean_flagged"]) == (1, 1, 1, 0)
    assert row["queries"] == 100
    result.figures["curves.png"](tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_curves_ask_for_searches_that_have_a_calibration() -> None:
    assert {setting.search for setting in SETTINGS} <= set(UniversalDetector.shipped().calibrations)
