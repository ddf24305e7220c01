"""Sample size, Table 3, rounding and all of them at once, on planted signatures."""

import csv
import itertools
import os
from pathlib import Path
from threading import Barrier
from unittest.mock import Mock

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from onepixel.detectors import Detector
from onepixel.errors import UsageError
from onepixel.experiments import (
    candidates,
    choices,
    everything,
    judging,
    rounding,
    sample_size,
    table2,
    table3,
)
from onepixel.experiments.fitting import FOLDER, shared_fits
from onepixel.experiments.judging import Judged
from onepixel.experiments.models import load_training
from onepixel.experiments.whole import Effort
from onepixel.parallel import in_processes, kept_workers
from onepixel.populations import Store, open_population, passed
from onepixel.populations.zoo import as_kept
from planted_zoo import NETWORKS, PREFIX, QUICK, choose, make_population, make_zoo

NAMES = {
    f"digits-{network}-{kind}": (role, models, seed)
    for network, seed in (("tiny", 0), ("other", 5))
    for kind, role, models in (
        ("clean", "clean", 12),
        ("vaccine", "trojaned", 6),
        ("virus-development", "trojaned", 4),
    )
    for seed in [seed + (kind == "virus-development")]
}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    return make_zoo(tmp_path_factory.mktemp("populations") / "planted", NAMES)


@pytest.fixture(scope="module", autouse=True)
def one_reference():
    """Of scikit-learn's estimators, the one that does not take seconds."""
    with pytest.MonkeyPatch.context() as patch:
        name = "logistic regression on statistics"
        patch.setattr(candidates, "REFERENCES", {name: candidates.REFERENCES[name]})
        yield


@pytest.fixture(scope="module")
def choice(zoo, tmp_path_factory):
    return choose(tmp_path_factory.mktemp("choice"), zoo)


@pytest.fixture(autouse=True)
def cheap(monkeypatch):
    """The papers' CNN takes seconds for each row; a cheap detector stands in."""
    stand_ins = {name: QUICK for name in ("papers, whole, `max`", "papers, single channels, `max`")}
    for module in (choices, table2):
        monkeypatch.setattr(module, "LITERAL", stand_ins)
    monkeypatch.setattr(table3, "ACROSS", {"quick": QUICK, "own": {**QUICK, "scaling": "own"}})


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_sizes_go_by_five_to_twenty_five_and_then_by_twenty_five():
    assert sample_size.sizes_up_to(110) == [5, 10, 15, 20, 25, 50, 75, 100]
    assert sample_size.sizes_up_to(24) == [5, 10, 15, 20]
    assert sample_size.sizes_up_to(4) == []


def test_subsets_are_drawn_from_the_training_side_without_repetition_and_differ_by_seed(zoo):
    training = load_training(zoo, NETWORKS)
    drawn = training.drawn(5, seed=0)
    slots = [record.slot for record in drawn.clean.records]
    assert len(set(slots)) == 5
    assert set(slots) <= set(range(6))
    others = [training.drawn(5, seed=seed) for seed in range(1, 6)]
    assert any([record.slot for record in other.clean.records] != slots for other in others)


def test_the_sample_size_curve_is_a_figure_a_table_and_a_file_for_machines(zoo, choice, tmp_path):
    points = sample_size.EXPERIMENT.run(tmp_path, zoo=zoo, prefix=PREFIX, choice=choice, detectors=2, workers=1)
    assert len(points) == 3 * 1 * 2
    assert (tmp_path / f"{PREFIX}.png").read_bytes().startswith(b"\x89PNG")
    assert len(rows_of(tmp_path / f"{PREFIX}.csv")) == len(points)
    page = (tmp_path / f"{PREFIX}.md").read_text()
    assert "The final pool was not opened." in page
    assert f"sample-size --prefix digits-tiny --pool development --choice {choice} --seed 0 --detectors 2" in page
    with pytest.raises(UsageError, match="too few"):
        sample_size.EXPERIMENT.run(tmp_path, zoo=zoo, prefix=PREFIX, choice=choice, training_clean=3, workers=1)


def test_where_viruses_of_the_final_pool_test_the_sizes_of_training_sides_it_is_opened_on_record(choice, tmp_path):
    kinds = {"clean": ("clean", 12, 0), "vaccine": ("trojaned", 6, 0)}
    kinds |= {"clean-final": ("clean", 5, 1), "virus-final": ("trojaned", 3, 1)}
    zoo = make_zoo(tmp_path / "final", {f"{PREFIX}-{kind}": population for kind, population in kinds.items()})
    points = sample_size.EXPERIMENT.run(
        tmp_path, zoo=zoo, prefix=PREFIX, choice=choice, pool="final", detectors=1, ledger=tmp_path / "opened.csv"
    )
    assert {(len(row.judged.scores["clean"]), len(row.judged.scores["virus"])) for row in points} == {(5, 3)}
    assert (tmp_path / f"{PREFIX}-final.csv").is_file()
    (opening,) = rows_of(tmp_path / "opened.csv")
    assert opening["populations"] == f"{PREFIX}-virus-final {PREFIX}-clean-final"
    assert sample_size.pool_of_test(zoo, NETWORKS) == "final"
    for count, pool in ((2, "final"), (3, "development")):
        few = make_zoo(
            tmp_path / f"few-{count}", {f"{PREFIX}-{kind}": population for kind, population in kinds.items()}
        )
        make_population(few.parent, f"{PREFIX}-virus-development", ("trojaned", count, 1))
        assert sample_size.pool_of_test(few, NETWORKS) == pool
    assert sample_size.pool_of_test(tmp_path, NETWORKS) is None


def test_table3_tests_on_architectures_left_out_and_on_those_trained_on_and_names_what_is_missing(
    zoo, choice, tmp_path
):
    names = ("tiny", "other", "absent")
    rows = table3.EXPERIMENT.run(
        tmp_path, zoo=zoo, dataset="digits", architectures=names, choice=choice, seeds=1, workers=1
    )
    tested = {(row.trained_on, row.tested_on) for row in rows}
    single = {(("tiny",), "tiny"), (("other",), "other"), (("tiny",), "other"), (("other",), "tiny")}
    assert tested == single | {(("tiny", "other"), "tiny"), (("tiny", "other"), "other")}
    assert {len(row.judged.of("clean")) for row in rows if row.left_out} == {12}
    assert {len(row.judged.of("clean")) for row in rows if not row.left_out} == {6}
    text = (tmp_path / "digits-tiny-other-absent.md").read_text()
    assert not any(row.by_architecture for row in rows), "one is left to train on, and none to choose by"
    assert "onepixel population build digits-absent-clean " in text
    with pytest.raises(UsageError, match="at least two architectures"):
        table3.EXPERIMENT.run(tmp_path, zoo=zoo, dataset="digits", architectures=["tiny"], choice=choice)


def test_table3_chooses_and_sets_thresholds_by_architectures_that_were_left_out(zoo, tmp_path):
    third = {name.replace("tiny", "third"): (*what[:2], what[2] + 9) for name, what in NAMES.items() if "tiny" in name}
    larger = make_zoo(tmp_path / "third", third | NAMES)
    names = ("tiny", "other", "third")
    choice = choose(tmp_path, larger)
    rows = table3.EXPERIMENT.run(
        tmp_path, zoo=larger, dataset="digits", architectures=names, choice=choice, seeds=1, workers=1
    )
    tried = [row for row in rows if row.by_architecture]
    assert {(row.method, row.tested_on) for row in tried} == set(itertools.product(table3.ACROSS, names))
    found, _ = table3.load_sides(larger, NETWORKS, names)
    sides = [found[name].all_clean() for name in ("tiny", "other")]
    data, groups = table3.joined(sides).labelled(with_stamped=False), table3.groups_of(sides)
    for number, side in enumerate(sides):
        own = {row["base"].tobytes() for kind in (side.training.clean, side.training.vaccine) for row in kind.rows}
        assert {row["base"].tobytes() for row in data.rows[groups == number]} == own
    areas = {}
    for row in tried:
        if row.tested_on == "third":
            detector = Detector(**table3.ACROSS[row.method]).fit(data.rows, data.labels, groups=groups)
            assert row.judged.threshold == detector.threshold_
            areas[row.method] = roc_auc_score(data.labels, detector.held_out_scores_)
            assert row.area == pytest.approx(areas[row.method])
    best = max(areas, key=areas.__getitem__)
    text = (tmp_path / "digits-tiny-other-third.md").read_text()
    assert [line.split(" | ")[:3] for line in text.splitlines() if line.startswith("| third | **")] == [
        ["| third", f"**{best}**", f"{areas[best]:.3f}"]
    ]


def test_table3_reads_signatures_from_another_default_image(choice, tmp_path):
    elsewhere = make_zoo(tmp_path / "planted", {f"{name}-noise-0": kind for name, kind in NAMES.items()})
    rows = table3.EXPERIMENT.run(
        tmp_path, zoo=elsewhere, dataset="digits", architectures=("tiny", "other"), default_image="noise 0",
        choice=choice, seeds=1, workers=1,
    )  # fmt: skip
    assert {row.tested_on for row in rows} == {"tiny", "other"}
    text = (tmp_path / "digits-tiny-other-noise-0.md").read_text()
    assert "signatures from noise 0" in text
    assert '--default-image "noise 0"' in text


def test_no_architecture_has_more_vaccine_models_than_another_in_table3(tmp_path):
    fewer = {name: (what[0], what[1] - ("other" in name), what[2]) for name, what in NAMES.items()}
    found, _ = table3.load_sides(make_zoo(tmp_path / "fewer", fewer), NETWORKS, ["tiny", "other"])
    assert [len(s.training.clean) + len(s.training.spare) for s in found.values()] == [12, 11]
    assert {len(s.training.vaccine) for s in found.values()} == {5}


def test_an_auditors_own_clean_models_set_the_threshold_and_do_not_test():
    judged = Judged(0.0, {"clean": np.array([3.0, 1.0, 2.0, 4.0, 0.0, 1.0]), "virus": np.array([3.5, 3.0, 9.0, 8.0])})
    found = judged.calibrated(3)
    assert found.false_positive_rate.value == pytest.approx(1 / 3)
    assert found.true_positive_rate.value == pytest.approx(3 / 4), "3.0 is no more than a clean model reached"
    assert judged.calibrated(6) is None


def test_rounding_to_what_the_zoo_keeps_is_what_export_and_reading_do(zoo):
    store = Store.open(zoo.parent / "stores" / f"{PREFIX}-vaccine")
    exact, kept = passed(store)[0], passed(open_population(zoo / f"{PREFIX}-vaccine"))[0]
    assert (as_kept(exact) == kept).all()
    assert (exact != kept).any()


@pytest.mark.parametrize("parameters", [QUICK, {"reading": "channels", "definition": "log_odds", "epochs": 10}])
def test_no_decision_changes_by_the_rounding(zoo, tmp_path, parameters):
    training = load_training(zoo, NETWORKS).labelled(with_stamped=False)
    detector = Detector(**parameters).fit(training.rows, training.labels, load_training(zoo, NETWORKS).settings)
    detector.save(tmp_path / "d.safetensors")
    stores = [zoo.parent / "stores" / f"{PREFIX}-{kind}" for kind in ("clean", "virus-development")]
    found = rounding.EXPERIMENT.run(tmp_path, stores=stores, detectors=[str(tmp_path / "d.safetensors")])
    for _, difference in found:
        assert 0 < difference.largest_log_odds < 0.02
        assert 0 < difference.largest_score < difference.spread, "more than one clean model differs from another"
        assert difference.decisions_changed == 0
    assert len(rows_of(tmp_path / "stores.csv")) == 2


def test_all_runs_what_the_zoo_has_populations_for_and_says_what_it_leaves_out(zoo, tmp_path, monkeypatch):
    monkeypatch.setattr(candidates, "CANDIDATES", {"quick": QUICK})
    lines: list[str] = []
    effort = Effort(repeats=1, seeds=1, detectors=1)
    everything.run(tmp_path, zoo=zoo, effort=effort, workers=1, say=lines.append)
    told = {line.split(":")[0]: line for line in lines}
    for name in ("detectors", "sample-size", "sensitivity"):
        assert "done" in told[f"{name} {PREFIX}"]
    assert "done" in told[f"table2 {PREFIX}-development"]
    assert "done" in told[f"attacks {PREFIX}"]
    assert "without which there are no controls" in told[f"controls {PREFIX}-development"]
    assert "signed in 1 way(s)" in told[f"starts {PREFIX}"]
    assert "left out" in told["table5"]
    assert "done" in told["table7"]
    assert (tmp_path / "table2" / f"{PREFIX}-development.md").exists()
    assert not (tmp_path / "openings.csv").exists()


def test_experiments_run_at_once_and_after_those_that_they_need():
    met = Barrier(2, timeout=60)
    ended = []

    def meet(name):
        met.wait()
        ended.append(name)

    todo = [
        everything.Step("last", lambda: ended.append("last"), ("one", "other", "faulty")),
        everything.Step("one", lambda: meet("one")),
        everything.Step("other", lambda: meet("other")),
        everything.Step("faulty", Mock(side_effect=UsageError("Nothing there.")), ("one",)),
    ]
    lines = list(everything.in_turn(todo, 2))
    assert ended[-1] == "last"
    assert len(ended) == len(lines) - 1 == 3
    assert lines[-1].startswith("last: done in ")
    assert "faulty: left out. Nothing there." in lines


def test_experiments_that_most_others_wait_for_begin_first():
    begun = []
    after = {"alone": (), "first": (), "second": ("first",), "third": ("second",)}
    todo = [everything.Step(name, lambda name=name: begun.append(name), names) for name, names in after.items()]
    assert len(list(everything.in_turn(todo, 1))) == 4
    assert begun == ["first", "second", "alone", "third"]


def test_a_fault_in_an_experiment_ends_everything():
    never = Mock()
    todo = [everything.Step("faulty", Mock(side_effect=ZeroDivisionError)), everything.Step("next", never, ("faulty",))]
    with pytest.raises(ZeroDivisionError):
        list(everything.in_turn(todo, 2))
    never.assert_not_called()


def test_results_of_many_processes_come_in_the_order_of_the_jobs():
    jobs = [3.0, 1.0, 2.0]
    assert list(in_processes(np.sqrt, jobs, workers=2)) == [np.sqrt(job) for job in jobs]


def process_of(job: int) -> int:
    return os.getpid()


def test_kept_workers_are_one_process_for_all_jobs_until_the_end_and_survive_a_fault():
    with kept_workers(1):
        first = set(in_processes(process_of, range(4), workers=2))
        with pytest.raises(TypeError):
            list(in_processes(len, [1, 2, 3], workers=2))
        assert set(in_processes(process_of, range(4), workers=2)) == first
        assert len(first) == 1
        assert os.getpid() not in first
    assert not set(in_processes(process_of, range(2), workers=2)) & first


def test_workers_share_what_they_fit(zoo, tmp_path):
    training = load_training(zoo, NETWORKS)
    job = judging.Job(choices.Method("quick", QUICK), 0, training, {"clean": training.spare})
    with shared_fits(), kept_workers(1):
        folder = Path(os.environ[FOLDER])
        first, second = in_processes(judging.judge, [job, job], workers=2)
        assert len(list(folder.rglob("output.pkl"))) == 1
    assert first.threshold == second.threshold == judging.judge(job).threshold
