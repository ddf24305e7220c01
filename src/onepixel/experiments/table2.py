"""ECCV Table 2 (and ICLR Table 2), one row of it: vaccine-trained detectors on viruses they never saw.

The papers' CNN under the definitions that their texts allow, the detector that cross-validation on the training side
chose (`candidates`), and the child's baselines. The development pool is for looking; the final pool is opened once.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated

from pydantic import Field

from onepixel.experiments.choices import LITERAL, Method, papers
from onepixel.experiments.declared import Cells, Experiment, Laboratory, Result, Said, columns
from onepixel.experiments.judging import (
    BASELINES,
    CROSS_ENTROPY,
    RATES,
    Job,
    Row,
    grouped,
    judge_all,
    over_seeds,
    rates,
)
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
from onepixel.experiments.options import Pooled, Tested
from onepixel.experiments.whole import Whole
from onepixel.populations.models import load_models
from onepixel.populations.names import PopulationName
from onepixel.report.tables import markdown_table


def load_sides(
    options: Pooled, laboratory: Laboratory, detectors: Sequence[str], triggers: str | None = None
) -> tuple[Training, Unseen]:
    """Read training and test side; an opening of the final pool is written down before.

    Raises
    ------
    UsageError
        If a population is missing or too small; then nothing is opened.
    """
    zoo, networks, final = laboratory.zoo, options.networks, options.pool == "final"
    clean = options.training_clean
    if clean is None and final:
        clean = len(load_models(zoo, networks.of("clean"))[0])
    training = load_training(zoo, networks, clean)
    if final:
        names = map(str, names_of_test(networks, options.pool, triggers))
        record_opening(laboratory.ledger, list(names), detectors, laboratory.command)
    return training, load_unseen(zoo, networks, options.pool, training, triggers)


def judge_viruses(
    methods: Sequence[Method], sides: tuple[Training, Unseen], options: Tested, laboratory: Laboratory
) -> list[Row]:
    """Fit every method with every seed (a baseline with the first one only) and judge what it did not see."""
    training, unseen = sides
    jobs = [
        Job(method, seed, training, unseen.by_name())
        for method in methods
        for seed in (options.numbers if method.parameters else options.numbers[:1])
    ]
    return judge_all(jobs, laboratory, "detectors")


def needs(options: Pooled, triggers: str | None = None) -> list[PopulationName]:
    """Populations without which there is no table."""
    return training_names(options.networks) + names_of_test(options.networks, options.pool, triggers)


def baselines() -> list[Method]:
    """What a child could think of."""
    return [Method(name, None) for name in BASELINES]


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
        return f"{self.networks}-{named_pool(self.pool, self.triggers)}"


def find(options: Options, laboratory: Laboratory) -> Result[list[Row]]:
    """Fit every detector and judge viruses."""
    chosen = options.chosen()
    sides = load_sides(options, laboratory, [*LITERAL, chosen.name], options.triggers)
    methods = [*baselines(), *papers(), chosen, *([chosen.stamped] if sides[0].stamped is not None else [])]
    rows = judge_viruses(methods, sides, options, laboratory)
    return Result.of(rows, options.subject, map(for_machines, rows), as_markdown(options, sides, rows))


def plan(whole: Whole) -> Iterator[Options]:
    """From black, the papers' start, and from class means; and for every kind of triggers."""
    yield from whole.repeated(Options, whole.tuned, seeds=1)
    for options in whole.repeated(Options, whole.networks):
        yield options
        for triggers in whole.other_triggers(options.networks):
            yield options.model_copy(update={"triggers": triggers})


PAPER = {
    "mnist": "95.72 % on MNIST, LeNet-5, 300 + 300 models to train and to test",
    "fashion": "94.59 % on Fashion-MNIST, LeNet-5, 300 + 300 models to train and to test",
    "gtsrb": '88.47 % on GTSRB, "6+2 Net", 43 classes, 300 + 300 models to train and to test; 97 % by single channels '
    "with 100 pairs",
    "imagenette": "88.69 % on ten classes of ImageNet, ResNet-50, 300 + 300 models to train and to test; 90 % by "
    "single channels with 100 pairs",
}
"""What the paper found, by data set as populations are named."""

FINE_TUNED = """
Every network, clean, stamped and trojaned, was fine-tuned from one of a few base networks, all alike but for the
poison, as ICLR A.5 describes; those of the final pool come from other bases than those that train.
"""

EXPERIMENT = Experiment(
    "table2",
    "Vaccine-trained detectors on unseen viruses (ECCV Table 2), and baselines.",
    Options,
    find,
    paper="ECCV Table 2; ICLR Table 2",
    needs=lambda options: needs(options, options.triggers),
    plan=plan,
    provides=("fits",),
    after={"detectors": ("chooser",), "table2": ("prefix", "default_image")},
)


def for_machines(row: Row) -> Cells:
    """One row for machines."""
    found = row.judged.evaluation()
    return {
        "method": row.method.name,
        "stamped_negatives": row.method.with_stamped,
        "seed": row.seed,
        **columns(found, "detection_rate", "auroc", "cross_entropy", "true_positive_rate", "false_positive_rate"),
        "stamped_vaccine_flagged": row.judged.flagged("stamped_vaccine"),
    }


def as_markdown(options: Options, sides: tuple[Training, Unseen], rows: Sequence[Row]) -> str:
    """The table for people: means over seeds, the interval of the first seed, the spread over seeds."""
    training, unseen = sides
    lines = [
        [
            f"{method.name}, stamped negatives" if method.with_stamped else method.name,
            *rates([row.judged.evaluation() for row in group]),
            over_seeds([row.judged.flagged("stamped_vaccine") for row in group]),
        ]
        for method, group in by_method(rows)
    ]
    dataset = options.networks.dataset
    paper = PAPER.get(dataset, f"nothing on {dataset}")
    tuned = FINE_TUNED if options.networks.tuned else ""
    with_triggers = f" with {options.triggers} as triggers" if options.triggers else ""
    return f"""# Table 2, {options.networks}, {options.pool} viruses{with_triggers}

ECCV 2020, Table 2: {paper}.
{tuned}
Trained on {training}, stamped ones only where the row says so; tested on {len(unseen.clean)} clean and
{len(unseen.virus)} virus models. {opened(options)} Detection rate is balanced accuracy at the threshold fixed by
cross-validation on the training models. Means over detector seeds, ± their standard deviation; intervals are the first
seed's, by stratified bootstrap over the test models. Which detector is "chosen" was decided by cross-validation on the
training side before: `results/detectors`. Stamped models carry no backdoor: they were trained on images stamped with
vaccine patterns, with their true labels; where they trained, held-out scores count. More on them: `results/controls`.

{CROSS_ENTROPY}

{markdown_table(["detector", *RATES, "stamped flagged"], lines)}
"""


def by_method(rows: Sequence[Row]) -> list[tuple[Method, list[Row]]]:
    """Rows of the same method together, in their order."""
    groups = grouped(rows, lambda row: (row.method.name, row.method.with_stamped))
    return [(group[0].method, group) for group in groups.values()]


def opened(options: Pooled) -> str:
    """A sentence about the final pool."""
    return f"The final pool was {'opened for this table' if options.pool == 'final' else 'not opened'}."
