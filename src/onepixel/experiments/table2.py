"""ECCV Table 2 (and ICLR Table 2), one row of it: vaccine-trained detectors on viruses they never saw.

The papers' CNN under the definitions that their texts allow, the detector that cross-validation on the training side
chose (`candidates`), and the child's baselines. The development pool is for looking; the final pool is opened once.
"""

import time
from dataclasses import dataclass
from pathlib import Path

from onepixel.experiments.candidates import LITERAL, Choice, Parameters, choice_option, read_choice
from onepixel.experiments.judging import BASELINES, RATES, Job, Judged, flagged, judge, mean_share, rates
from onepixel.experiments.models import (
    Training,
    Unseen,
    load_training,
    load_unseen,
    named_pool,
    names_of_test,
    require,
    side_options,
)
from onepixel.experiments.openings import record_opening
from onepixel.experiments.results import markdown_table, provenance, write_result
from onepixel.parallel import in_processes
from onepixel.progress import counted
from onepixel.trojan import Pool


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
    zoo: Path,
    prefix: str,
    ending: str,
    pool: Pool,
    clean: int | None,
    detectors: list[str],
    ledger: Path,
    command: str,
    triggers: str | None = None,
) -> tuple[Training, Unseen]:
    """Read training and test side; an opening of the final pool is written down before.

    Raises
    ------
    UsageError
        If a population is missing or too small; then nothing is opened.
    """
    if clean is None and pool == "final":
        from onepixel.populations import open_population

        require(zoo, [f"{prefix}-clean{ending}"])
        records = open_population(zoo / f"{prefix}-clean{ending}").records()
        clean = sum(record.status == "passed" for record in records)
    training = load_training(zoo, prefix, clean, ending)
    if pool == "final":
        names = names_of_test(prefix, pool, ending, triggers)
        require(zoo, names)
        record_opening(ledger, names, detectors, command)
    return training, load_unseen(zoo, prefix, pool, training, ending, triggers)


def judge_all(
    chosen: list[Method],
    training: Training,
    unseen: Unseen,
    seeds: range,
    *,
    workers: int | None = None,
    progress: bool = False,
) -> list[Row]:
    """Fit every method with every seed (a baseline with the first one only) and judge what it did not see."""
    wanted = [(method, seed) for method in chosen for seed in (seeds if method.parameters else seeds[:1])]
    jobs = [Job(m.name, m.parameters, training, unseen, m.with_stamped, seed) for m, seed in wanted]
    found = counted(in_processes(judge, jobs, workers), "detectors", len(jobs), "rows", enabled=progress)
    return [Row(method, seed, judged) for (method, seed), judged in zip(wanted, found, strict=True)]


def run(
    output: Path,
    *,
    zoo: Path = Path("zoo"),
    prefix: str = "mnist-lenet5",
    ending: str = "",
    pool: Pool = "development",
    triggers: str | None = None,
    clean: int | None = None,
    choice: Path | None = None,
    ledger: Path = Path("results/openings.csv"),
    seed: int = 0,
    seeds: int = 10,
    workers: int | None = None,
    progress: bool = False,
) -> list[Row]:
    """Fit every detector and write the table as Markdown and CSV below `output`.

    Parameters
    ----------
    output : Path
        A folder; made where it does not exist.
    zoo : Path
        Where the populations are.
    prefix : str
        What their names begin with: data set and architecture.
    ending : str
        What they end with where signatures start from something else than black, a key of `SIGNED`.
    pool : {"development", "final"}
        Which viruses are the test. The final pool brings clean models of its own, and is written down in `ledger`.
    triggers : str, optional
        Viruses with other triggers than usual: what stands before the pool in their population's name.
    clean : int, optional
        How many clean models train, from the first slot on; the rest is test in the development pool. Unless said,
        half of them there, and all of them for the final pool.
    choice : Path, optional
        The comparison in which the chosen detector stands; `usual_choice` unless said.
    ledger : Path
        Where an opening of the final pool is written down.
    seed, seeds : int
        First detector seed, and how many.
    workers : int, optional
        Processes; one per core unless said.
    progress : bool
        Show a progress bar on standard error.

    Raises
    ------
    UsageError
        If a population or the choice is missing.
    """
    started = time.perf_counter()
    chosen = read_choice(choice, prefix)
    sides = side_options(clean, ending) + choice_option(choice, prefix)
    tested = f"--pool {pool}" + (f" --triggers {triggers}" if triggers else "")
    command = f"onepixel experiment table2 --prefix {prefix} {tested}{sides} --seed {seed} --seeds {seeds}"
    detectors = [*LITERAL, f"chosen: {chosen.name}"]
    training, unseen = load_sides(zoo, prefix, ending, pool, clean, detectors, ledger, command, triggers)
    table = methods(chosen, training)
    rows = judge_all(table, training, unseen, range(seed, seed + seeds), workers=workers, progress=progress)
    made = provenance(command, time.perf_counter() - started)
    text = as_markdown(training, unseen, rows, prefix + ending, pool, triggers)
    write_result(
        output, f"{prefix}{ending}-{named_pool(pool, triggers)}", CSV_HEAD, [csv_line(row) for row in rows], text, made
    )
    return rows


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


def as_markdown(
    training: Training, unseen: Unseen, rows: list[Row], prefix: str, pool: Pool, triggers: str | None = None
) -> str:
    """The table for people: means over seeds, the interval of the first seed, the spread over seeds."""
    lines = []
    for method, group in by_method(rows):
        shares = [flagged(row.judged.stamped_vaccine, row.judged.threshold) for row in group]
        name = f"{method.name}, stamped negatives" if method.with_stamped else method.name
        lines.append([name, *rates([row.judged.evaluation() for row in group]), mean_share(shares)])
    opened = "The final pool was opened for this table." if pool == "final" else "The final pool was not opened."
    return f"""# Table 2, {prefix}, {pool} viruses{f" with {triggers} as triggers" if triggers else ""}

The papers: 95.72 % (MNIST) and 94.59 % (Fashion-MNIST), LeNet-5, 300 + 300 models to train and to test.

Trained on {training}, stamped ones only where the row says so; tested on {len(unseen.clean)} clean and
{len(unseen.virus)} virus models. {opened} Detection rate is balanced accuracy at the threshold fixed by
cross-validation on the training models. Means over detector seeds, ± their standard deviation; intervals are the first
seed's, by stratified bootstrap over the test models. Which detector is "chosen" was decided by cross-validation on the
training side before: `results/detectors`. Stamped models carry no backdoor: they were trained on images stamped with
vaccine patterns, with their true labels; where they trained, held-out scores count. More on them: `results/controls`.

{markdown_table(["detector", *RATES, "stamped flagged"], lines)}
"""
