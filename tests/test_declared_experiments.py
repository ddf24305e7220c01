"""An experiment is one file: its command, help, files, place in `all` and lines about what is missing come from it."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from onepixel import experiments
from onepixel.cli import main
from onepixel.errors import UsageError
from onepixel.experiments import everything, registry, table2
from onepixel.experiments.declared import Experiment, ExperimentOptions, Laboratory, Result, Said
from onepixel.experiments.whole import Effort, Whole
from planted_zoo import PREFIX, Population, make_zoo

COUNTING = '''
"""How many clean models there are."""

from typing import Annotated

from pydantic import Field

from onepixel.experiments.declared import Experiment, Laboratory, Result
from onepixel.experiments.options import Prefixed
from onepixel.populations.models import load_models


class Options(Prefixed):
    least: Annotated[int, Field(ge=1, description="What is enough.")] = 2


def find(options: Options, laboratory: Laboratory) -> Result[int]:
    models = len(load_models(laboratory.zoo, f"{options.prefix}-clean")[0])
    text = f"# Counted\\n\\n{models} of {options.least}\\n"
    return Result(models, options.subject, ["models"], [[models]], text, said=[f"{models} models"], missing=["some"])


EXPERIMENT = Experiment(
    "counting",
    "How many clean models are there?",
    Options,
    find,
    paper="None at all",
    needs=lambda options: [f"{options.prefix}-clean"],
    plan=lambda whole: whole.repeated(Options, whole.main),
    after={"table2": ("prefix",), "detectors": ("prefix",)},
    workers=False,
)
'''


@pytest.fixture
def counting(tmp_path, monkeypatch):
    """One more file in the package of experiments."""
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "counting.py").write_text(COUNTING)
    monkeypatch.setattr(experiments, "__path__", [*experiments.__path__, str(folder)])
    yield
    sys.modules.pop("onepixel.experiments.counting", None)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    names = {f"{PREFIX}-clean": ("clean", 3, 0), f"{PREFIX}-vaccine": ("trojaned", 2, 0)}
    return make_zoo(tmp_path_factory.mktemp("populations") / "planted", names)


def test_one_file_is_a_command_with_help_checks_results_and_how_they_were_made(counting, zoo, tmp_path, capsys):
    assert main(["experiment", "--help"]) == 0
    assert "How many clean models are there?" in capsys.readouterr().out
    assert main(["experiment", "counting", "--help"]) == 0
    help_text = capsys.readouterr().out
    assert "What is enough." in help_text
    assert "--workers" not in help_text
    command = ["experiment", "counting", "--prefix", PREFIX, "--zoo", str(zoo), "--output", str(tmp_path / "out")]
    assert main([*command, "--least", "0"]) == 2
    assert main([*command, "--least", "3"]) == 0
    told = capsys.readouterr()
    assert told.out.splitlines() == ["3 models", str(tmp_path / "out")]
    assert "some is missing: onepixel population build" in told.err
    page = (tmp_path / "out" / f"{PREFIX}.md").read_text()
    assert "3 of 3" in page
    assert f"- command: `onepixel experiment counting --prefix {PREFIX} --least 3 --zoo {zoo}`" in page
    assert "## Not measured" in page
    assert (tmp_path / "out" / f"{PREFIX}.csv").read_text() == "models\n3\n"


def test_one_file_is_in_all_after_what_it_names_and_in_the_documentations_list(counting, zoo, tmp_path):
    steps = everything.steps(Whole(zoo, tmp_path), Laboratory(zoo))
    (step,) = [step for step in steps if step.name.startswith("counting")]
    assert step.name == f"counting {PREFIX}"
    assert step.after == (f"detectors {PREFIX}", f"table2 {PREFIX}-development")
    assert step.run().found == 3
    assert (tmp_path / "counting" / f"{PREFIX}.csv").exists()
    row = "| `counting` | How many clean models are there? | None at all | `mnist-lenet5-clean` |"
    assert row in registry.as_markdown()


def test_fine_tuned_networks_have_one_table_with_the_detector_that_was_chosen_on_mnist(tmp_path):
    tuned = "gtsrb-six_plus_two-tuned"
    prefixes = ("mnist-lenet5", tuned)
    kinds: dict[str, Population] = {"clean": ("clean", 4, 1), "vaccine": ("trojaned", 4, 1)}
    make_zoo(tmp_path, {f"{prefix}-{kind}": kinds[kind] for prefix in prefixes for kind in kinds})
    whole = Whole(tmp_path / "zoo", tmp_path / "results", effort=Effort(seeds=10))
    steps = {step.name: step for step in everything.steps(whole, Laboratory(whole.zoo))}
    assert [name for name in steps if tuned in name] == [f"table2 {tuned}-development"]
    assert steps[f"table2 {tuned}-development"].after == ("detectors mnist-lenet5",)
    options = next(options for options in table2.plan(whole) if options.prefix == tuned)
    assert (options.seeds, options.choice) == (1, tmp_path / "results" / "detectors" / "mnist-lenet5.csv")


def test_what_is_missing_or_wrong_is_one_sentence_and_nothing_is_written(counting, zoo, tmp_path):
    experiment = registry.load("counting")
    with pytest.raises(UsageError, match="no odd-clean; make it with: onepixel population build"):
        experiment.run(tmp_path / "out", zoo=zoo, prefix="odd")
    with pytest.raises(UsageError, match="Experiment counting, least: Input should be greater than or equal to 1"):
        experiment.run(tmp_path / "out", zoo=zoo, least=0)
    with pytest.raises(UsageError, match=r"Expected one of any-classifier, .*counting, .* but got 'astrology'"):
        registry.load("astrology")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", registry.entries())
def test_help_reads_the_options_that_the_experiment_has(name):
    entry, experiment = registry.entries()[name], registry.load(name)
    declared = {option: about.default for option, about in experiment.options.model_fields.items()}
    assert {option: about.default for option, about in entry.fields().items()} == declared
    for option, about in experiment.options.model_fields.items():
        read = entry.fields()[option]
        assert (read.description, str(read.annotation)) == (about.description, str(about.annotation))
        assert Said.of(read) == Said.of(about)
    assert (entry.folder, entry.reads_zoo, entry.workers) == (
        experiment.folder,
        experiment.reads_zoo,
        experiment.workers,
    )


@pytest.mark.parametrize("name", registry.entries())
def test_every_experiment_has_help_for_every_option_and_its_declared_name(name):
    experiment = registry.load(name)
    assert (experiment.name, experiment.summary) == (name, registry.entries()[name].summary)
    assert all(field.description for field in experiment.options.model_fields.values())
    assert experiment.checked() == experiment.options()
    known = registry.entries()
    assert set(experiment.after) <= set(known)


def test_figures_of_experiments_that_run_side_by_side_are_drawn_one_at_a_time(tmp_path):
    together, most = [], []

    def draw(path):
        together.append(path)
        time.sleep(0.05)
        most.append(len(together))
        together.pop()

    def find(options, laboratory):
        return Result(None, "drawn", ["a"], [[1]], "", figures={"drawn.png": draw})

    experiment = Experiment("drawn", "Drawn?", ExperimentOptions, find, reads_zoo=False, workers=False)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda number: experiment.run(tmp_path / str(number)), range(3)))
    assert most == [1, 1, 1]


def test_an_experiment_on_records_is_in_all_where_there_are_records(tmp_path):
    class Options(ExperimentOptions):
        kept: Path = tmp_path / "kept"

    experiment = Experiment("kept", "Kept?", Options, lambda options, laboratory: None, records="kept")
    assert (experiment.reads_zoo, experiment.workers) == (False, False)
    assert experiment.plan(Whole(tmp_path, tmp_path)) == []
    (tmp_path / "kept").mkdir()
    assert experiment.plan(Whole(tmp_path, tmp_path)) == [Options()]
