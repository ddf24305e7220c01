"""The comparison: every method on the very same networks, thresholds from others, rows that are written once."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from onepixel.classifiers import Classifier
from onepixel.errors import UndecidedError, UsageError
from onepixel.experiments import compare, method_records, signature_records, validate
from onepixel.experiments.comparison_networks import backdoored_or_clean, in_common, networks_for
from onepixel.experiments.comparison_page import Found, as_markdown
from onepixel.experiments.comparison_rows import Row, fixed
from onepixel.experiments.declared import Laboratory
from onepixel.experiments.judging import Judged
from onepixel.experiments.judging import Row as JobRow
from onepixel.experiments.leaving_out import PARTS
from onepixel.experiments.method_records import Judgement, judge_store, read_judgements, trained, write_judgements
from onepixel.experiments.reach_records import Network, write_networks
from onepixel.methods import Needs, Score
from onepixel.methods.maximum_margin import MaximumMargin
from onepixel.populations import Store, build
from populations_of_digits import InProcess, digits_recipe

NAN = float("nan")


def one(population: str, slot: int, score: float, *, flagged: bool | None = None, target: int | None = None):
    role = "clean" if "clean" in population else "stamped" if "stamped" in population else "trojaned"
    targets = (3,) if role == "trojaned" else ()
    return Judgement(population, slot, role, targets, score, flagged, target, 2.0, 100)


def scored(population: str, scores: list[float]) -> list[Judgement]:
    return [one(population, slot, score, flagged=score > 2, target=3) for slot, score in enumerate(scores)]


def write(folder: Path, method: str, table: dict[str, list[float]]) -> None:
    for population, scores in table.items():
        write_judgements(folder / method / f"{population}.csv", scored(population, scores))


TABLE = {
    "a-lenet5-clean-development": [0.0, 0.5, 1.0],
    "a-lenet5-virus-development": [3.0, 4.0, 5.0],
    "a-lenet5-clean-final": [0.0, 1.0, 2.5],
    "a-lenet5-virus-final": [1.0, 3.0, 3.5],
    "b-lenet5-clean-development": [10.0, 10.0, 10.0],
    "b-lenet5-virus-development": [20.0, 20.0, 20.0],
}


FINAL = "a-lenet5-virus-final"


def test_rows_are_read_as_they_were_written_and_half_a_row_does_not_count(tmp_path: Path) -> None:
    rows = [one("a-clean", 0, 1.5, flagged=False, target=4), one("a-virus", 1, 2.0), one("a-virus", 2, NAN)]
    path = tmp_path / "m" / "a.csv"
    write_judgements(path, rows)
    assert read_judgements(path)[:2] == rows[:2]
    assert math.isnan(read_judgements(path)[2].score)
    path.write_text(path.read_text()[:-6])
    assert read_judgements(path) == rows[:2]


def test_threshold_comes_from_open_pools_and_never_from_what_is_tested() -> None:
    said = {(row.population, row.slot): row for name, scores in TABLE.items() for row in scored(name, scores)}
    assert fixed("abs", said, "a-lenet5-virus-development")[0] == 15.0
    final, _ = fixed("abs", said, "a-lenet5-virus-final")
    moved = {key: row for key, row in said.items() if not key[0].endswith("-final")}
    assert fixed("abs", moved, "a-lenet5-virus-final")[0] == final


def test_clean_networks_are_of_the_same_pool_and_trained_as_long() -> None:
    names = ["a-lenet5-clean", "a-lenet5-brief-clean-development", "a-lenet5-brief-clean-final", "a-vgg10-clean"]
    said = {(name, 0): one(name, 0, 0.0) for name in (*names, "a-lenet5-brief-virus-development", "a-lenet5-virus")}
    brief = networks_for(said, "a-lenet5-brief-virus-development")
    assert brief == {("a-lenet5-brief-virus-development", 0), ("a-lenet5-brief-clean-development", 0)}
    assert networks_for(said, "a-lenet5-virus") == {("a-lenet5-virus", 0), ("a-lenet5-clean", 0)}


def test_whoever_judged_all_networks_of_a_row_is_named_in_the_order_of_the_table() -> None:
    whole = {(row.population, row.slot): row for name, scores in TABLE.items() for row in scored(name, scores)}
    part = {key: row for key, row in whole.items() if key != (FINAL, 0)}
    few = {key: row for key, row in whole.items() if key[1] == 0}
    common, methods = in_common({"mm-bd": part, "b3d": few, "abs": whole}, FINAL)
    assert methods == ["mm-bd", "abs"]
    assert common == {("a-lenet5-clean-final", slot) for slot in range(3)} | {(FINAL, 1), (FINAL, 2)}
    assert in_common({"abs": whole}, "unknown") == (set(), [])


def test_networks_that_were_looked_at_are_not_tested() -> None:
    said = {
        (name, slot): one(name, slot, 0.0) for name in ("mnist-mntd-clean", "mnist-mntd-patch") for slot in range(5)
    }
    assert {slot for _, slot in networks_for(said, "mnist-mntd-patch")} == {3, 4}


def test_a_reported_rate_is_set_beside_the_interval_of_the_measured_one() -> None:
    networks = scored("mnist-lenet5-clean", [0.0] * 20), scored("mnist-lenet5-virus", [3.0] * 20)
    row = Row("neural-cleanse", "mnist-lenet5-virus", *map(tuple, networks), (), None, None)
    page = as_markdown(Found([row], [], {}), {})
    assert "60.53 % | `mnist-lenet5-virus` | 100 % [83, 100] | contradicted: better here" in page


def test_a_target_is_named_where_there_is_one_to_name() -> None:
    clean, trojaned = scored("a-clean", [0.0] * 3), scored("a-virus", [3.0] * 3)
    row = Row("abs", "a-virus", tuple(clean), tuple(trojaned), (), None, None)
    everywhere = tuple(replace(network, targets=(1, 2, 3)) for network in trojaned)
    assert row.named == 3
    assert row._replace(trojaned=everywhere).named is None


def test_networks_that_our_detector_was_chosen_on_are_counted() -> None:
    networks = scored("a-clean", [0.0] * 3), scored("a-virus", [3.0] * 3)
    row = Row("onepixel-gradient", "a-virus", *map(tuple, networks), (), 0.0, None)
    page = as_markdown(Found([row], [], {}, {("a-clean", 1), ("a-virus", 2), ("b-virus", 0)}), {})
    assert "| 2 of 6 |" in page


def test_every_method_is_compared_on_networks_that_all_of_them_judged(tmp_path: Path) -> None:
    write(tmp_path, "abs", TABLE)
    write(tmp_path, "mm-bd", TABLE | {"a-lenet5-clean-final": [0.0, 1.0]})
    result = compare.find(compare.Options(scores=tmp_path, networks=tmp_path, validation=tmp_path / "no"), Laboratory())
    rows = {(row[0], row[1]): dict(zip(result.head, row, strict=True)) for row in result.rows}
    assert [rows[name, "a-lenet5-virus-final"]["clean"] for name in ("abs", "mm-bd")] == [2, 2]
    assert rows["abs", "a-lenet5-virus-final"]["detection_rate_published"] == f"{(1 + 2 / 3) / 2:.4f}"
    assert rows["abs", "a-lenet5-virus-final"]["target_named"] == "1.0000"
    assert "Every row of a population" in result.text


def test_a_method_that_did_not_work_on_its_own_ground_is_left_out_and_named(tmp_path: Path) -> None:
    write(tmp_path, "abs", TABLE)
    write(tmp_path, "mm-bd", TABLE)
    (tmp_path / "validation.csv").write_text("method,validated\nabs,no\nmm-bd,yes\n")
    options = compare.Options(scores=tmp_path, networks=tmp_path, validation=tmp_path / "validation.csv")
    result = compare.find(options, Laboratory())
    assert {row[0] for row in result.rows} == {"mm-bd"}
    assert "ABS did not work on its own ground" in result.text


def test_ours_is_fixed_on_other_kinds_and_judged_on_the_same_networks(tmp_path: Path) -> None:
    write(tmp_path / "scores", "abs", TABLE)
    for kind, high in (("a-lenet5", 9.0), ("b-lenet5", 8.0), ("c-lenet5", 7.0)):
        for name, role, value in (
            (f"{kind}-clean-development", "clean", 1.0),
            (f"{kind}-virus-development", "trojaned", high),
        ):
            parts = [{part: value + (slot / 10 if value > 1 else 0) for part in PARTS} for slot in range(3)]
            rows = [
                Network(kind, role, name, slot, (3,), "gradient", 50, 0.9, 1.0, dict.fromkeys(part, 3), part)
                for slot, part in enumerate(parts)
            ]
            (tmp_path / "gradient").mkdir(exist_ok=True)
            write_networks(tmp_path / "gradient" / f"{name}.csv", rows)
    options = compare.Options(scores=tmp_path / "scores", networks=tmp_path, validation=tmp_path / "no")
    found = compare.find(options, Laboratory()).found
    own = [row for row in found.rows if row.method == "onepixel-gradient"]
    assert {row.population for row in own} == {"a-lenet5-virus-development", "b-lenet5-virus-development"}
    assert all(row.published and row.published.value == 1.0 and row.threshold == 0.0 and row.named == 3 for row in own)


def test_without_any_row_it_says_what_makes_them(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="compare --stores"):
        compare.find(compare.Options(scores=tmp_path, networks=tmp_path), Laboratory())
    with pytest.raises(UsageError, match="validate --stores"):
        validate.find(validate.Options(scores=tmp_path), Laboratory())


def test_a_method_works_if_its_own_rule_finds_what_it_should(tmp_path: Path) -> None:
    good = {"mnist-lenet5-clean-shadow": [0.0] * 10, "mnist-lenet5-corner-square": [3.0] * 10}
    write(tmp_path, "neural-cleanse", good)
    write(tmp_path, "abs", good | {"mnist-lenet5-corner-square": [3.0] * 8 + [0.0] * 2})
    write(tmp_path, "b3d", {name: scores[:9] for name, scores in good.items()})
    result = validate.find(validate.Options(scores=tmp_path), Laboratory())
    assert {row[0]: row[-1] for row in result.rows} == {"neural-cleanse": "yes", "abs": "no", "b3d": "no"}


@dataclass(frozen=True)
class Brightest:
    """Undecided of the second network it sees, else as suspicious as images are many."""

    name: ClassVar[str] = "brightest"
    title: ClassVar[str] = "Brightest"
    paper: ClassVar[str] = "nobody"
    needs: ClassVar[Needs] = Needs(weights=False, images=2)
    seen: ClassVar[list[str]] = []

    def score(self, classifier: Classifier, images: np.ndarray, labels: np.ndarray) -> Score:
        self.seen.append(classifier.name)
        if len(self.seen) == 2:
            raise UndecidedError("No.")
        return Score(float(len(images)), True, int(labels[0]), (), 7)


def test_a_store_is_judged_slot_by_slot_and_goes_on_where_it_was(tmp_path: Path, monkeypatch) -> None:
    images = np.zeros((2, 1, 8, 8), dtype=np.float32), np.array([0, 1])
    monkeypatch.setattr(method_records, "_images", lambda store, classifier: images)
    recipe = digits_recipe("clean", 3, epochs=0.1)
    build(recipe, tmp_path / "store", executor=InProcess())
    store, way = Store.open(tmp_path / "store"), Brightest()
    first = next(iter(judge_store(store, way, tmp_path)))
    rest = list(judge_store(store, way, tmp_path))
    assert (first.slot, [row.slot for row in rest]) == (0, [1, 2])
    assert math.isnan(rest[0].score)
    assert len(way.seen) == 3
    rows = read_judgements(tmp_path / "brightest" / "digits-clean.csv")
    assert [row.slot for row in rows] == [0, 1, 2]
    assert list(judge_store(store, way, tmp_path)) == []


def test_a_method_that_looks_at_no_images_judges_networks_that_have_none_to_offer(tmp_path: Path, monkeypatch) -> None:
    def none_to_offer(store: Store, classifier: Classifier) -> tuple[np.ndarray, np.ndarray]:
        raise UndecidedError("The network is sure of too few images.")

    monkeypatch.setattr(method_records, "_images", none_to_offer)
    recipe = digits_recipe("clean", 1, epochs=0.1)
    build(recipe, tmp_path / "store", executor=InProcess())
    store = Store.open(tmp_path / "store")
    (blind,) = judge_store(store, MaximumMargin(starts=1, steps=1), tmp_path)
    (looking,) = judge_store(store, Brightest(), tmp_path)
    assert not math.isnan(blind.score)
    assert math.isnan(looking.score)


def test_a_method_that_needs_shadows_is_not_run_without_them() -> None:
    assert trained("mntd", ()) is None
    assert trained("abs", ()) is not None


def test_a_method_that_judged_few_networks_waits_instead_of_shrinking_the_row(tmp_path: Path) -> None:
    many = {name: scores * 4 for name, scores in TABLE.items()}
    write(tmp_path, "abs", many)
    write(tmp_path, "mm-bd", TABLE)
    result = compare.find(compare.Options(scores=tmp_path, networks=tmp_path, validation=tmp_path / "no"), Laboratory())
    rows = [dict(zip(result.head, row, strict=True)) for row in result.rows if row[1] == "a-lenet5-virus-final"]
    assert [(row["method"], row["trojaned"]) for row in rows] == [("abs", 12)]


def test_what_judged_no_stamped_network_keeps_none_from_the_others(tmp_path: Path) -> None:
    write(tmp_path, "abs", TABLE | {"a-lenet5-stamped-all-final": [0.0, 0.0]})
    write(tmp_path, "signature-black", TABLE)
    options = compare.Options(scores=tmp_path, networks=tmp_path, validation=tmp_path / "no")
    rows = {row.method: row for row in compare.find(options, Laboratory()).found.rows if row.population == FINAL}
    assert [len(rows[name].stamped) for name in ("abs", "signature-black")] == [2, 0]
    assert rows["signature-black"].threshold == 0.0


def test_attacks_are_tested_whole_and_fix_no_threshold() -> None:
    attack, clean = "a-lenet5-attack-blended", "a-lenet5-clean-final"
    names = (attack, clean, "a-lenet5-clean", "a-lenet5-stamped-all-classes", "a-lenet5-virus-development")
    said = {(name, slot): one(name, slot, float(slot)) for name in names for slot in range(2)}
    assert {name for name, _ in networks_for(said, attack)} == {
        attack,
        clean,
        "a-lenet5-stamped-all-classes",
    }
    moved = {key: replace(row, score=row.score - 9 * (attack in key[0])) for key, row in said.items()}
    assert fixed("abs", moved, attack) == fixed("abs", said, attack)


def test_what_lost_its_class_is_left_out_whoever_looked() -> None:
    said = {("a-clean", 0): one("a-clean", 0, 0.0), ("a-virus", 0): replace(one("a-virus", 0, 1.0), role="lost")}
    assert backdoored_or_clean(said) == {("a-clean", 0)}


def test_the_page_says_which_place_ours_takes_and_who_needs_shadows() -> None:
    clean, trojaned = tuple(scored("a-clean", [0.0, 1.0, 2.0])), scored("a-virus", [0.5, 3.0, 4.0])
    rows = [
        Row("abs", "a-virus", clean, tuple(trojaned), (), None, None),
        Row("onepixel-gradient", "a-virus", clean, tuple(trojaned[1:]), (), 0.0, None),
        Row("mntd", "b-virus", clean, tuple(trojaned), (), None, None),
        Row("onepixel-gradient", "b-virus", clean, tuple(trojaned[:1]), (), 0.0, None),
    ]
    page = as_markdown(Found(rows, [], {}), {})
    assert "| `a-virus` | 3 + 3 + 0 | 0.778 | needs shadows | 1.000 | first |" in page
    assert "| `b-virus` | 3 + 3 + 0 | - | 0.778 | 0.333 | second |" in page


def test_detectors_of_signatures_write_a_row_for_each_network_of_the_zoo(tmp_path: Path, monkeypatch) -> None:
    zoo = Path(__file__).parents[1] / "zoo"
    monkeypatch.setattr(signature_records, "judge_all", judged_by_accuracy)
    laboratory = Laboratory(zoo=zoo, ledger=tmp_path / "openings.csv")
    signature_records.judge_by_signatures("mnist-lenet5", tmp_path, laboratory, ("signature-black",))
    folder = tmp_path / "signature-black"
    viruses = read_judgements(folder / "mnist-lenet5-virus-final.csv")
    assert len(viruses) == 101
    assert all(row.role == "trojaned" and len(row.targets) == 1 and row.flagged == (row.score >= 0) for row in viruses)
    assert {row.role for row in read_judgements(folder / "mnist-lenet5-clean-final.csv")} == {"clean"}
    assert (folder / "mnist-lenet5-attack-all-to-all.csv").exists()
    assert not any("class-means-" in path.name for path in folder.iterdir())
    assert "mnist-lenet5-virus-final" in laboratory.ledger.read_text()


def judged_by_accuracy(jobs, laboratory: Laboratory, label: str) -> list[JobRow]:
    """Instead of detectors that would have to be fitted: how inaccurate a network is."""
    return [
        JobRow(
            job, Judged(0.02, {k: np.array([1 - r.clean_accuracy for r in m.records]) for k, m in job.tests.items()})
        )
        for job in jobs
    ]


def test_ours_is_measured_beside_the_others_and_timed_where_rows_are_timed(tmp_path: Path, monkeypatch) -> None:
    build(digits_recipe("clean", 1, epochs=0.1), tmp_path / "store", executor=InProcess())
    store, asked = Store.open(tmp_path / "store"), []
    monkeypatch.setattr(
        compare, "measure_store", lambda store, file, *, most, search: asked.append((file, most, search))
    )
    monkeypatch.setattr(compare, "time_ours", lambda store, name, folder, most: asked.append((folder, most, name)))
    options = compare.Options(scores=tmp_path, networks=tmp_path / "n", attacks=tmp_path / "a", timed=tmp_path / "t")
    compare.said_of(store, "onepixel-gradient", options)
    compare.said_of(store, "onepixel-gradient", options.model_copy(update={"scores": tmp_path / "t"}))
    measured = tmp_path / "a" / "gradient" / "digits-clean.csv"
    assert asked == [(measured, None, "gradient"), (tmp_path / "t", 2, "onepixel-gradient")]
