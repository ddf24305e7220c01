"""Table 2, its controls and the choice of detector, on planted signatures: they must count right and look away."""

import csv
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from onepixel.cli import main
from onepixel.errors import UsageError
from onepixel.experiments import candidates, choices, controls, judging, table2
from onepixel.experiments.choices import Method
from onepixel.experiments.declared import Laboratory
from onepixel.experiments.judging import Job, Judged, judge
from onepixel.experiments.models import load_training, load_unseen
from onepixel.experiments.openings import record_opening
from onepixel.experiments.whole import Whole
from onepixel.populations import PopulationName
from planted_zoo import DEVELOPMENT, NETWORKS, PREFIX, QUICK, choose, make_population, make_zoo


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    return make_zoo(tmp_path_factory.mktemp("populations") / "planted", DEVELOPMENT)


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


@pytest.fixture
def cheap(monkeypatch):
    """The papers' CNN takes seconds for each row, a cheap detector stands in."""
    monkeypatch.setattr(choices, "LITERAL", {"stand-in": QUICK})
    monkeypatch.setattr(table2, "LITERAL", {"stand-in": QUICK})


def sides(zoo, clean=None):
    training = load_training(zoo, NETWORKS, clean)
    return training, load_unseen(zoo, NETWORKS, "development", training)


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(("asked", "trained"), [(None, 6), (9, 9)])
def test_clean_models_are_split_by_slots_and_nothing_is_on_both_sides(zoo, asked, trained):
    training, unseen = sides(zoo, asked)
    assert [record.slot for record in training.clean.records] == list(range(trained))
    assert [record.slot for record in unseen.clean.records] == list(range(trained, 12))


def test_a_split_that_leaves_nothing_to_test_or_to_train_is_refused(zoo):
    training = load_training(zoo, NETWORKS, 12)
    with pytest.raises(UsageError, match="none is left to test"):
        load_unseen(zoo, NETWORKS, "development", training)
    with pytest.raises(UsageError, match="cannot be trained on"):
        load_training(zoo, NETWORKS, 13)


def test_a_missing_population_is_named_with_the_command_that_builds_it(zoo):
    with pytest.raises(UsageError, match="no odd-clean, odd-vaccine; make it with: onepixel population build"):
        load_training(zoo, PopulationName.parse("odd"))


@pytest.mark.parametrize("name", ["quick", *judging.BASELINES])
def test_scores_and_threshold_do_not_depend_on_what_is_tested(zoo, name):
    training, unseen = sides(zoo)
    parameters = QUICK if name == "quick" else None
    whole = judge(Job(Method(name, parameters, True), 0, training, unseen.by_name()))
    fewer = judge(
        Job(Method(name, parameters, True), 0, training, {**unseen.by_name(), "virus": unseen.virus.part(0, 2)})
    )
    assert whole.threshold == fewer.threshold
    assert whole.of("virus")[:2] == pytest.approx(fewer.of("virus"))
    assert whole.of("clean") == pytest.approx(fewer.of("clean"))


def test_stamped_models_that_trained_are_judged_by_scores_of_what_did_not_see_them(zoo):
    training, unseen = sides(zoo)
    trained = judge(Job(Method("quick", QUICK, True), 0, training, unseen.by_name()))
    apart = judge(Job(Method("quick", QUICK), 0, training, unseen.by_name()))
    together = training.labelled(with_stamped=True)
    held_out = candidates.Detector(**QUICK, random_state=0).cross_validated_scores(together.rows, together.labels)
    assert trained.of("stamped_vaccine") == pytest.approx(held_out[-4:])
    assert len(apart.of("stamped_vaccine")) == 4
    assert len(trained.of("stamped_virus")) == 3


def test_a_baseline_that_is_told_the_truth_is_perfect(zoo, monkeypatch):
    training, unseen = sides(zoo)
    trojaned = {record.seed for record in (*training.vaccine.records, *unseen.virus.records)}

    def truth(models):
        return np.array([[float(record.seed in trojaned)] for record in models.records])

    monkeypatch.setitem(judging.BASELINES, "oracle", truth)
    judged = judge(Job(Method("oracle", None), 0, training, unseen.by_name()))
    assert judged.evaluation().detection_rate.value == 1
    told = judged.evaluation().cross_entropy
    assert told is not None
    assert told.value < 0.69, "better than a coin, although a few models tell little"
    assert (judged.of("stamped_vaccine") < judged.threshold).all()


def test_the_strict_threshold_flags_at_most_a_tenth_of_the_held_out_stamped_models_and_never_more_than_the_best():
    rng = np.random.default_rng(0)
    for count in (1, 9, 10, 25, 40):
        stamped = rng.normal(size=count).round(1)
        judged = Judged(-0.5, {"stamped_vaccine": stamped})
        assert (stamped >= judged.strict_threshold).mean() <= 0.1
        assert judged.strict_threshold >= judged.threshold
        lower = np.nextafter(judged.strict_threshold, -np.inf)
        assert judged.strict_threshold == judged.threshold or (stamped >= lower).mean() > 0.1


def test_the_choice_is_the_best_by_the_lower_of_the_two_areas_and_looks_at_no_virus(zoo, tmp_path):
    bare = tmp_path / "bare"
    for name in ("clean", "vaccine", "stamped-vaccine"):
        (bare / f"{PREFIX}-{name}").parent.mkdir(exist_ok=True)
        (bare / f"{PREFIX}-{name}").symlink_to(zoo / f"{PREFIX}-{name}")
    rows = rows_of(choose(tmp_path / "out", bare))
    own = [row for row in rows if row["parameters"]]
    best = max(own, key=lambda row: min(float(row["auroc_clean"]), float(row["auroc_stamped"])))
    assert [row["candidate"] for row in rows if row["chosen"]] == [best["candidate"]]
    assert {row["candidate"] for row in rows} == {"quick", "other", *candidates.REFERENCES}


def test_an_ensemble_is_compared_by_its_readings_and_a_reading_that_two_candidates_share_is_fitted_once(
    zoo, monkeypatch
):
    training, _ = sides(zoo)
    cheap = {"definition": "change", "epochs": 2, "members": 1}
    named = {"one": {"reading": "channels", **cheap}, "two": {"reading": "channels+statistics", **cheap}}
    fitted = []
    validate = candidates.cross_validate
    monkeypatch.setattr(candidates, "cross_validate", lambda job: fitted.append(job.name) or validate(job))
    lines = candidates.compare(training, named, range(1), Laboratory(workers=1))
    assert len(fitted) == len(set(fitted)) == 2 + len(candidates.REFERENCES)
    data = training.labelled(with_stamped=True)
    scores = candidates.Detector(**named["two"]).cross_validated_scores(data.rows, data.labels)
    clean, vaccine = len(training.clean), len(training.vaccine)
    line = next(line for line in lines if line.name == "two")
    assert line.against_clean == [candidates.fast_auroc(scores[:clean], scores[clean : clean + vaccine])]


def test_without_a_comparison_the_table_says_which_command_makes_it(zoo, tmp_path):
    with pytest.raises(UsageError, match="onepixel experiment detectors"):
        table2.EXPERIMENT.run(tmp_path / "out", zoo=zoo, prefix=PREFIX, choice=tmp_path / "none.csv")
    (tmp_path / "bad.csv").write_text("candidate,chosen,parameters\nx,yes,{\n")
    with pytest.raises(UsageError, match="names no chosen detector"):
        table2.EXPERIMENT.run(tmp_path / "out", zoo=zoo, prefix=PREFIX, choice=tmp_path / "bad.csv")


def test_table2_has_a_row_for_every_method_and_seed_and_says_what_was_trained_on(zoo, choice, cheap, tmp_path):
    table2.EXPERIMENT.run(tmp_path, zoo=zoo, prefix=PREFIX, choice=choice, seeds=2, workers=1)
    rows = rows_of(tmp_path / f"{PREFIX}-development.csv")
    assert len(rows) == len(judging.BASELINES) + 2 * (1 + 2)
    assert [row["stamped_negatives"] for row in rows[-2:]] == ["yes", "yes"]
    text = (tmp_path / f"{PREFIX}-development.md").read_text()
    assert "6 clean, 6 vaccine and 4 stamped models" in text
    assert "The final pool was not opened." in text
    assert f"table2 --prefix {PREFIX} --pool development --choice {choice} --seed 0 --seeds 2 --zoo {zoo}" in text


def test_controls_put_every_method_with_and_without_stamped_negatives_side_by_side(zoo, choice, cheap, tmp_path):
    controls.EXPERIMENT.run(tmp_path, zoo=zoo, prefix=PREFIX, choice=choice, seeds=1, workers=1)
    rows = rows_of(tmp_path / f"{PREFIX}-development.csv")
    names = list(dict.fromkeys(row["method"] for row in rows))
    assert [row["method"] for row in rows] == [name for name in names for _ in range(2)]
    assert all(float(row["stamped_vaccine_flagged_strict"]) <= 0.1 for row in rows)
    assert all(float(row["stamped_virus_flagged_strict"]) <= float(row["stamped_virus_flagged_best"]) for row in rows)


def test_the_final_pool_is_refused_unless_complete_and_each_opening_is_written_down(
    zoo, choice, cheap, tmp_path, capsys
):
    ledger = tmp_path / "openings.csv"
    options = {"zoo": zoo, "prefix": PREFIX, "pool": "final", "choice": choice, "ledger": ledger, "workers": 1}
    with pytest.raises(UsageError, match=f"no {PREFIX}-virus-final, {PREFIX}-clean-final"):
        table2.EXPERIMENT.run(tmp_path / "out", **options)
    assert not ledger.exists()

    complete = make_zoo(tmp_path / "complete", DEVELOPMENT)
    for kind, role, seed in (("virus", "trojaned", 2), ("clean", "clean", 3)):
        make_population(tmp_path / "complete", f"{PREFIX}-{kind}-final", (role, 3, seed))
    for times in (1, 2):
        table2.EXPERIMENT.run(tmp_path / "out", **{**options, "zoo": complete}, seeds=1)
        assert len(rows_of(ledger)) == times
    line = rows_of(ledger)[0]
    assert line["populations"] == f"{PREFIX}-virus-final {PREFIX}-clean-final"
    assert "chosen:" in line["detectors"]
    assert "--pool final" in line["command"]
    text = (tmp_path / "out" / f"{PREFIX}-final.md").read_text()
    assert "12 clean, 6 vaccine" in text
    assert "The final pool was opened for this table." in text


def test_openings_at_the_same_time_are_all_written_down(tmp_path):
    ledger = tmp_path / "openings.csv"
    commands = [f"command {number}" for number in range(16)]
    with ThreadPoolExecutor(len(commands)) as pool:
        list(pool.map(lambda command: record_opening(ledger, ["viruses"], ["detector"], command), commands))
    assert sorted(row["command"] for row in rows_of(ledger)) == sorted(commands)


def test_viruses_with_other_triggers_are_opened_under_their_own_name_and_have_a_table_of_their_own(
    choice, cheap, tmp_path
):
    zoo = make_zoo(tmp_path / "zoo", DEVELOPMENT)
    for kind, role, count, seed in (("virus", "trojaned", 3, 2), ("virus-garments", "trojaned", 4, 5)):
        make_population(tmp_path / "zoo", f"{PREFIX}-{kind}-final", (role, count, seed))
    make_population(tmp_path / "zoo", f"{PREFIX}-clean-final", ("clean", 3, 3))
    ledger = tmp_path / "openings.csv"
    assert Whole(zoo, tmp_path, "final").main == [NETWORKS], (
        "stamped-vaccine is a kind of theirs, no networks of its own"
    )
    assert Whole(zoo, tmp_path, "final").other_triggers(NETWORKS) == ["garments"]
    options = {"zoo": zoo, "prefix": PREFIX, "pool": "final", "choice": choice, "ledger": ledger, "workers": 1}
    table2.EXPERIMENT.run(tmp_path / "out", **options, triggers="garments", seeds=1)
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == [
        f"{PREFIX}-garments-final.csv",
        f"{PREFIX}-garments-final.md",
    ]
    text = (tmp_path / "out" / f"{PREFIX}-garments-final.md").read_text()
    assert "tested on 3 clean and\n4 virus models" in text
    assert f"--pool final --choice {choice} --seed 0 --seeds 1 --triggers garments" in text
    (line,) = rows_of(ledger)
    assert line["populations"] == f"{PREFIX}-virus-garments-final {PREFIX}-clean-final"
    with pytest.raises(UsageError, match=f"no {PREFIX}-virus-hats-final"):
        table2.EXPERIMENT.run(tmp_path / "out", **options, triggers="hats", seeds=1)


def test_the_command_line_refuses_a_final_pool_that_is_not_there_with_one_sentence(zoo, choice, capsys):
    command = ["experiment", "table2", "--from-zoo", "--zoo", str(zoo), "--prefix", PREFIX, "--choice", str(choice)]
    assert main([*command, "--pool", "final"]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_the_final_pool_s_own_models_stamped_in_every_class_come_before_others(zoo, tmp_path):
    folder = tmp_path / "final"
    final = {
        f"{PREFIX}-clean": ("clean", 4, 0),
        f"{PREFIX}-vaccine": ("trojaned", 3, 0),
        f"{PREFIX}-clean-final": ("clean", 3, 3),
        f"{PREFIX}-virus-final": ("trojaned", 3, 3),
        f"{PREFIX}-stamped-all-classes": ("stamped", 2, 2),
    }
    own = make_zoo(folder, final)
    training = load_training(own, NETWORKS, 2)
    assert len(load_unseen(own, NETWORKS, "final", training).stamped_all_classes) == 2
    make_population(folder, f"{PREFIX}-stamped-all-final", ("stamped", 5, 3))
    assert len(load_unseen(own, NETWORKS, "final", training).stamped_all_classes) == 5
    assert len(load_unseen(zoo, NETWORKS, "development", sides(zoo)[0]).stamped_all_classes) == 2


def test_tables_of_fine_tuned_networks_say_so_and_name_their_data_set_s_number(zoo):
    for prefix, said in (("gtsrb-six_plus_two-tuned", True), ("mnist-lenet5", False)):
        text = table2.as_markdown(table2.Options(prefix=prefix), sides(zoo), [])
        assert ("fine-tuned from one of a few base networks" in text) == said
        assert ("88.47 % on GTSRB" in text) == said
        assert ("95.72 % on MNIST" in text) != said
