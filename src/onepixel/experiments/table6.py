"""ICLR Table 6 and appendix A.5: viruses by the class that they turn, and by how they were put in.

The paper trains and tests detectors on backdoors from class i to i + 1, for each i. Here one detector, trained on
backdoors between random classes, judges viruses between random classes, taken apart by their source class: a harder
test, since what is told from what is not known to the detector. Those from i to i + 1 are among them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onepixel.detectors import Estimate, Evaluation
from onepixel.experiments.attack_types import mean_of
from onepixel.experiments.choices import papers
from onepixel.experiments.declared import Cells, Experiment, Laboratory, Result, interval
from onepixel.experiments.judging import Job, Judged, grouped, judge_all
from onepixel.experiments.models import Training, Unseen
from onepixel.experiments.options import DefaultImage, Seeds, Tested
from onepixel.experiments.table2 import load_sides, needs, opened
from onepixel.experiments.whole import Whole
from onepixel.populations import Record
from onepixel.populations.models import Models, load_if_there
from onepixel.report.tables import table_of

PAPER = (98.95, 99.72, 99.11, 99.32, 98.01, 97.94, 99.02, 98.41, 98.91, 99.32)
"""Detection rate in percent of networks with a backdoor from class i to i + 1, by i; 94.75 mixed."""

PAPER_ACCURACY = (96.78, 96.36, 96.85, 95.77, 97.31, 97.21, 96.80, 97.30, 97.22, 97.20)

MIXED = 94.75

FINE_TUNED = "fine-tuned-development"
"""The kind of population whose backdoors came to a trained network in mini-batches (A.5)."""

TUNED = "fine-tuned"


def source_of(record: Record) -> int:
    """The one class that a backdoor turns."""
    return next(source for source, target in enumerate(record.target_of) if source != target)


def to_the_next(record: Record) -> bool:
    """Whether it turns class i to i + 1, the last one to the first."""
    source = source_of(record)
    return record.target_of[source] == (source + 1) % len(record.target_of)


@dataclass(frozen=True)
class Row:
    """What one detector, with one seed, says of some trojaned networks.

    Attributes
    ----------
    name : str
        Which ones.
    method : str
    seed : int
    models : Models
    result : Evaluation
        Of those against all clean networks of the test.
    paper : float or None
        In percent.
    """

    name: str
    method: str
    seed: int
    models: Models
    result: Evaluation
    paper: float | None = None


class Options(Tested):
    """Options of `onepixel experiment table6`."""

    default_image: DefaultImage = "class means"
    seeds: Seeds = 1


def selections(virus: Models, classes: int) -> Iterator[tuple[str, NDArray[np.int64], float | None]]:
    """Yield the table's rows: which viruses by number, and the paper's detection rate."""
    sources = np.array([source_of(record) for record in virus.records])
    following = np.array([to_the_next(record) for record in virus.records])
    papers = PAPER if classes == len(PAPER) else (None,) * classes
    for source in range(classes):
        yield f"from {source}", np.flatnonzero(sources == source), papers[source]
    yield "from i to i + 1", np.flatnonzero(following), None
    yield "mixed", np.arange(len(virus)), MIXED


def find(options: Options, laboratory: Laboratory) -> Result[list[Row]]:
    """Judge all viruses, and take what was said apart by their source class and by how they were put in."""
    methods = [*papers(0), options.chosen()]
    training, unseen = load_sides(options, laboratory, [method.name for method in methods])
    name = options.networks.of(FINE_TUNED)
    tuned = load_if_there(laboratory.zoo, name, training.settings)
    tests = {"clean": unseen.clean, "virus": unseen.virus, **({TUNED: tuned} if tuned is not None else {})}
    jobs = [Job(method, seed, training, tests) for method in methods for seed in options.numbers]
    rows: list[Row] = []
    for one in judge_all(jobs, laboratory, "Table 6"):
        rows += rows_of(one.method.name, one.seed, one.judged, unseen.virus, tuned)
    text = as_markdown(options, training, unseen, rows)
    absent = [] if tuned is not None else [name]
    return Result.of(rows, options.subject, map(for_machines, rows), text, missing=absent)


def rows_of(method: str, seed: int, judged: Judged, virus: Models, tuned: Models | None) -> Iterator[Row]:
    """The rows of one detector."""
    for name, numbers, paper in selections(virus, len(virus.records[0].target_of)):
        if len(numbers):
            part = replace(judged, scores={**judged.scores, "part": judged.of("virus")[numbers]})
            yield Row(name, method, seed, virus.chosen(numbers), part.evaluation(trojaned="part"), paper)
    if tuned is not None:
        yield Row(TUNED, method, seed, tuned, judged.evaluation(trojaned=TUNED))


def plan(whole: Whole) -> Iterator[Options]:
    """On MNIST, as in the paper, from class means where the zoo has them."""
    yield from whole.repeated(Options, [one for one in whole.main if one.dataset == "mnist"], seeds=1)


EXPERIMENT = Experiment(
    "table6",
    "Are backdoors from one class found as well as those from another, and those that came by fine-tuning?",
    Options,
    find,
    paper="ICLR Table 6; appendix A.5",
    needs=needs,
    plan=plan,
    after={"table2": ("prefix", "default_image"), "detectors": ("prefix",)},
)


def for_machines(row: Row) -> Cells:
    """One row for machines."""
    return {
        "viruses": row.name,
        "method": row.method,
        "seed": row.seed,
        "models": len(row.models),
        "clean_accuracy": mean_of(row.models, "clean_accuracy"),
        "attack_success": mean_of(row.models, "attack_success"),
        **interval("found", row.result.true_positive_rate),
        **interval("detection_rate", row.result.detection_rate),
        **interval("auroc", row.result.auroc),
    }


def over(estimates: Sequence[Estimate]) -> str:
    """The mean over seeds, and the first one's interval."""
    mean = np.mean([estimate.value for estimate in estimates])
    return f"{mean:.1%} ({estimates[0].low:.1%} to {estimates[0].high:.1%})"


def table(rows: Sequence[Row]) -> str:
    """One detector's rows, means over its seeds and the first one's intervals."""
    return table_of(
        {
            "viruses": name,
            "networks": len(group[0].models),
            "accuracy, %": f"{100 * mean_of(group[0].models, 'clean_accuracy').value:.2f}",
            "success, %": f"{100 * mean_of(group[0].models, 'attack_success').value:.2f}",
            "found": over([row.result.true_positive_rate for row in group]),
            "detection rate": over([row.result.detection_rate for row in group]),
            "AUROC": f"{np.mean([row.result.auroc.value for row in group]):.3f}",
            "paper, %": None if group[0].paper is None else f"{group[0].paper:.2f}",
        }
        for name, group in grouped(rows, lambda row: row.name).items()
    )


def verdict(rows: Sequence[Row]) -> str:
    """One paragraph: do the classes differ, and does fine-tuning hide a backdoor?"""
    own = [row for row in rows if row.method.startswith("chosen") and row.seed == rows[0].seed]
    classes = [row for row in own if row.name.startswith("from ") and row.name != "from i to i + 1"]
    found = {row.name: row.result.detection_rate for row in own}
    below = [row.name for row in classes if row.paper and row.result.detection_rate.high < row.paper / 100]
    rates = [row.result.detection_rate.value for row in classes]
    word = f"Contradicted for {', '.join(below)}" if below else "Confirmed for every class, within the intervals"
    said = (
        f"{word}: the chosen detector's detection rate lies between {min(rates):.1%} and {max(rates):.1%} by source "
        f"class (paper: {min(PAPER)} to {max(PAPER)} %), and is {found['mixed'].value:.1%} mixed (paper: {MIXED} %)."
    )
    tuned = next((row for row in own if row.name == TUNED), None)
    if tuned is None:
        return said
    share, mixed = tuned.result.true_positive_rate, next(row for row in own if row.name == "mixed")
    scratch = mixed.result.true_positive_rate
    apart = share.high < scratch.low or scratch.high < share.low
    level = "not as well as" if apart and share.value < scratch.value else "as well as"
    return (
        f"{said} Backdoors that were put into a trained network in mini-batches (A.5) are found {level} those that it "
        f"was trained with from scratch: {share.value:.1%} [{share.low:.1%}, {share.high:.1%}] of {len(tuned.models)} "
        f"against {scratch.value:.1%} [{scratch.low:.1%}, {scratch.high:.1%}]; its accuracy is "
        f"{100 * mean_of(tuned.models, 'clean_accuracy').value:.2f} %, the paper's above 99 %."
    )


def as_markdown(options: Options, training: Training, unseen: Unseen, rows: Sequence[Row]) -> str:
    """The page for people."""
    methods = dict.fromkeys(row.method for row in rows)
    sections = "\n\n".join(
        f"## {method}\n\n{table([row for row in rows if row.method == method])}" for method in methods
    )
    return f"""# By class and by injection, {options.networks}, {options.pool} viruses

ICLR 2020, Table 6: detectors of backdoors from class i to i + 1, for each i, LeNet-5 on MNIST, accuracies of
{min(PAPER_ACCURACY)} to {max(PAPER_ACCURACY)} %; appendix A.5: a backdoor may also come to a trained network in
mini-batches of poisoned data, and "our signatures can also reflect the existence of such backdoor", without a number.

{verdict(rows)}

One detector, trained on {training}, whose backdoors run between random classes, judges {len(unseen.clean)} clean and
{len(unseen.virus)} virus networks, whose backdoors do so too; the rows take the viruses apart by the class that they
turn. The paper trains a detector for each pair of classes. "found" is the share of trojaned networks above the
threshold, with its exact interval; the detection rate counts the clean ones too, the same in every row, interval by
bootstrap. {opened(options)}

{sections}
"""
