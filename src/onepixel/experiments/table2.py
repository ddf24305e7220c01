"""ECCV Table 2 (and ICLR Table 2), one row of it: vaccine-trained detectors on viruses they never saw.

The papers' CNN under the definitions that their texts allow, the detector that cross-validation on the training side
chose (`candidates`), and the child's baselines. The development pool is for looking; the final pool is opened once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from onepixel.experiments.candidates import LITERAL
from onepixel.experiments.choices import Choice, Parameters, read_choice
from onepixel.experiments.declared import Experiment, Laboratory, Result, Said
from onepixel.experiments.judging import BASELINES, RATES, Job, Judged, flagged, judge, mean_share, rates
from onepixel.experiments.models import (
    Training,
    Unseen,
    load_training,
    load_unseen,
    named_pool,
    names_of_test,
    training_names,
)
from onepixel.experiments.openings import record_opening
from onepixel.experiments.options import Tested
from onepixel.experiments.results import markdown_table
from onepixel.experiments.whole import Whole
from onepixel.populations import open_population


@dataclass(frozen=True)
class Method:
    """One row: a detector's parameters, or, without any, a baseline; with stamped models among the negatives or not."""

    name: str
    parameters: Parameters | None
    with_stamped: bool = False


@dataclass(frozen=True)
class Row:
    """What a method said, with one seed."""

    method: Method
    seed: int
    judged: Judged


def methods(choice: Choice, training: Training) -> list[Method]:
    """The table's rows: baselines, the papers' CNN, and the chosen detector, without and with stamped negatives."""
    return [
        *(Method(name, None) for name in BASELINES),
        *(Method(name, parameters) for name, parameters in LITERAL.items()),
        Method(f"chosen: {choice.name}", choice.parameters),
        *([Method(f"chosen: {choice.name}", choice.parameters, True)] if training.stamped is not None else []),
    ]


def load_sides(
    options: Tested, laboratory: Laboratory, detectors: list[str], triggers: str | None = None
) -> tuple[Training, Unseen]:
    """Read training and test side; an opening of the final pool is written down before.

    Raises
    ------
    UsageError
        If a population is missing or too small; then nothing is opened.
    """
    zoo, prefix, ending, pool = laboratory.zoo, options.prefix, options.ending, options.pool
    clean = options.training_clean
    if clean is None and pool == "final":
        records = open_population(zoo / f"{prefix}-clean{ending}").records()
        clean = sum(record.status == "passed" for record in records)
    training = load_training(zoo, prefix, clean, ending)
    if pool == "final":
        names = names_of_test(prefix, pool, ending, triggers)
        record_opening(laboratory.ledger, names, detectors, laboratory.command)
    return training, load_unseen(zoo, prefix, pool, training, ending, triggers)


def judge_all(
    chosen: list[Method], training: Training, unseen: Unseen, seeds: range, laboratory: Laboratory
) -> list[Row]:
    """Fit every method with every seed (a baseline with the first one only) and judge what it did not see."""
    wanted = [(method, seed) for method in chosen for seed in (seeds if method.parameters else seeds[:1])]
    jobs = [Job(m.name, m.parameters, training, unseen, m.with_stamped, seed) for m, seed in wanted]
    found = laboratory.each(judge, jobs, "detectors", "rows")
    return [Row(method, seed, judged) for (method, seed), judged in zip(wanted, found, strict=True)]


def needs(options: Tested, triggers: str | None = None) -> list[str]:
    """Populations without which there is no table."""
    test = names_of_test(options.prefix, options.pool, options.ending, triggers)
    return [*training_names(options.prefix, options.ending), *test]


class Options(Tested):
    """Options of `onepixel experiment table2`."""

    triggers: Annotated[
        str | None,
        Field(description="Viruses with other triggers, such as garments, as populations are named."),
        Said(metavar="NAME"),
    ] = None

    @property
    def subject(self) -> str:
        """Networks, what their signatures start from, and the viruses."""
        return f"{super().subject}-{named_pool(self.pool, self.triggers)}"


def find(options: Options, laboratory: Laboratory) -> Result[list[Row]]:
    """Fit every detector and judge viruses."""
    chosen = read_choice(options.choice, options.prefix)
    detectors = [*LITERAL, f"chosen: {chosen.name}"]
    training, unseen = load_sides(options, laboratory, detectors, options.triggers)
    rows = judge_all(methods(chosen, training), training, unseen, options.detector_seeds, laboratory)
    text = as_markdown(options, training, unseen, rows)
    return Result(rows, options.subject, CSV_HEAD, [csv_line(row) for row in rows], text)


def plan(whole: Whole) -> Iterator[Options]:
    """From black, the papers' start, and from class means; and for every kind of triggers."""
    for prefix, image in whole.sides():
        options = Options(default_image=image, **whole.testing(prefix))
        yield options
        for triggers in whole.other_triggers(prefix, options.ending):
            yield options.model_copy(update={"triggers": triggers})


EXPERIMENT = Experiment(
    "table2",
    "Vaccine-trained detectors on unseen viruses (ECCV Table 2), and baselines.",
    Options,
    find,
    paper="ECCV Table 2; ICLR Table 2",
    needs=lambda options: needs(options, options.triggers),
    plan=plan,
    provides=("fits",),
    after={"detectors": ("prefix",), "table2": ("prefix", "default_image")},
)


CSV_HEAD = [
    "method",
    "stamped_negatives",
    "seed",
    "detection_rate",
    "auroc",
    "true_positive_rate",
    "false_positive_rate",
    "stamped_vaccine_flagged",
]


def csv_line(row: Row) -> list[object]:
    """One row for machines."""
    found = row.judged.evaluation()
    share = flagged(row.judged.stamped_vaccine, row.judged.threshold)
    numbers = (found.detection_rate, found.auroc, found.true_positive_rate, found.false_positive_rate)
    stamped = "" if share is None else f"{share.value:.4f}"
    negatives = "yes" if row.method.with_stamped else "no"
    return [row.method.name, negatives, row.seed, *(f"{estimate.value:.4f}" for estimate in numbers), stamped]


def by_method(rows: list[Row]) -> list[tuple[Method, list[Row]]]:
    """Rows of the same method together, in their order."""
    names = dict.fromkeys((row.method.name, row.method.with_stamped) for row in rows)
    groups = [[row for row in rows if (row.method.name, row.method.with_stamped) == name] for name in names]
    return [(group[0].method, group) for group in groups]


def as_markdown(options: Options, training: Training, unseen: Unseen, rows: list[Row]) -> str:
    """The table for people: means over seeds, the interval of the first seed, the spread over seeds."""
    lines = []
    for method, group in by_method(rows):
        shares = [flagged(row.judged.stamped_vaccine, row.judged.threshold) for row in group]
        name = f"{method.name}, stamped negatives" if method.with_stamped else method.name
        lines.append([name, *rates([row.judged.evaluation() for row in group]), mean_share(shares)])
    with_triggers = f" with {options.triggers} as triggers" if options.triggers else ""
    return f"""# Table 2, {options.prefix}{options.ending}, {options.pool} viruses{with_triggers}

The papers: 95.72 % (MNIST) and 94.59 % (Fashion-MNIST), LeNet-5, 300 + 300 models to train and to test.

Trained on {training}, stamped ones only where the row says so; tested on {len(unseen.clean)} clean and
{len(unseen.virus)} virus models. {opened(options)} Detection rate is balanced accuracy at the threshold fixed by
cross-validation on the training models. Means over detector seeds, ± their standard deviation; intervals are the first
seed's, by stratified bootstrap over the test models. Which detector is "chosen" was decided by cross-validation on the
training side before: `results/detectors`. Stamped models carry no backdoor: they were trained on images stamped with
vaccine patterns, with their true labels; where they trained, held-out scores count. More on them: `results/controls`.

{markdown_table(["detector", *RATES, "stamped flagged"], lines)}
"""


def opened(options: Tested) -> str:
    """A sentence about the final pool."""
    return f"The final pool was {'opened for this table' if options.pool == 'final' else 'not opened'}."
