"""Does a detector see the backdoor or only the stamping? Detectors with and without stamped models in training.

Stamped models saw images with the same patterns under their true labels. Both rates are published side by side: how
well viruses are told from clean models, and how many stamped models are flagged, at two thresholds that are fixed on
the training side: the best one, and one at which at most a tenth of the held-out stamped models are flagged.
"""

import time
from pathlib import Path

import numpy as np

from onepixel.detectors.metrics import Estimate, balanced_accuracy, fast_auroc
from onepixel.errors import UsageError
from onepixel.experiments.candidates import LITERAL, Choice, choice_option, read_choice
from onepixel.experiments.judging import BASELINES, TOLERATED, flagged, mean_share
from onepixel.experiments.models import Training, Unseen, side_options
from onepixel.experiments.results import markdown_table, provenance, write_result
from onepixel.experiments.table2 import Method, Row, by_method, judge_all, load_sides
from onepixel.trojan import Pool


def methods(choice: Choice) -> list[Method]:
    """Each baseline, the papers' whole reading, and the chosen detector: without and with stamped negatives."""
    whole = next(iter(LITERAL))
    named = {**dict.fromkeys(BASELINES), whole: LITERAL[whole], f"chosen: {choice.name}": choice.parameters}
    return [Method(name, parameters, stamped) for name, parameters in named.items() for stamped in (False, True)]


def run(
    output: Path,
    *,
    zoo: Path = Path("zoo"),
    prefix: str = "mnist-lenet5",
    ending: str = "",
    pool: Pool = "development",
    clean: int | None = None,
    choice: Path | None = None,
    ledger: Path = Path("results/openings.csv"),
    seed: int = 0,
    seeds: int = 10,
    workers: int | None = None,
    progress: bool = False,
) -> list[Row]:
    """Fit detectors with and without stamped negatives and write the table as Markdown and CSV below `output`.

    Arguments and errors are those of `table2.run`; besides, stamped models are needed.
    """
    started = time.perf_counter()
    chosen = read_choice(choice, prefix)
    sides = side_options(clean, ending) + choice_option(choice, prefix)
    command = f"onepixel experiment controls --prefix {prefix} --pool {pool}{sides} --seed {seed} --seeds {seeds}"
    table = methods(chosen)
    names = list(dict.fromkeys(method.name for method in table if method.parameters is not None))
    training, unseen = load_sides(zoo, prefix, ending, pool, clean, names, ledger, command)
    if training.stamped is None:
        raise UsageError(f"{zoo} has no {prefix}-stamped-vaccine{ending}, without which there are no controls.")
    rows = judge_all(table, training, unseen, range(seed, seed + seeds), workers=workers, progress=progress)
    made = provenance(command, time.perf_counter() - started)
    text = as_markdown(training, unseen, rows, prefix + ending, pool)
    write_result(output, f"{prefix}{ending}-{pool}", CSV_HEAD, [csv_line(row) for row in rows], text, made)
    return rows


STAMPED = ("stamped_vaccine", "stamped_virus", "stamped_all_classes")
"""The kinds of stamped models, as `Judged` names their scores."""

CSV_HEAD = [
    "method",
    "stamped_negatives",
    "seed",
    "auroc_clean",
    "auroc_stamped",
    *(
        f"{name}_{threshold}"
        for threshold in ("best", "strict")
        for name in ("detection_rate", "false_positive_rate", *(f"{kind}_flagged" for kind in STAMPED))
    ),
]


def against_stamped(row: Row) -> float:
    """Area under the curve of virus against stamped models: those with virus patterns, else with vaccine patterns."""
    stamped = row.judged.stamped_virus if len(row.judged.stamped_virus) else row.judged.stamped_vaccine
    return fast_auroc(stamped, row.judged.virus)


def csv_line(row: Row) -> list[object]:
    """One row for machines."""
    judged = row.judged
    cells: list[object] = [row.method.name, "yes" if row.method.with_stamped else "no", row.seed]
    cells += [f"{fast_auroc(judged.clean, judged.virus):.4f}", f"{against_stamped(row):.4f}"]
    for threshold in (judged.threshold, judged.strict_threshold):
        rate = balanced_accuracy(judged.clean, judged.virus, threshold)
        shares = [flagged(getattr(judged, kind), threshold) for kind in STAMPED]
        cells += [f"{rate:.4f}", f"{(judged.clean >= threshold).mean():.4f}"]
        cells += ["" if share is None else f"{share.value:.4f}" for share in shares]
    return cells


def at_threshold(group: list[Row], *, strict: bool) -> list[str]:
    """Detection rate, false alarms, and each kind of stamped models flagged, over seeds."""
    shares: list[list[Estimate | None]] = []
    for row in group:
        threshold = row.judged.strict_threshold if strict else row.judged.threshold
        found = row.judged.evaluation(threshold)
        stamped = [flagged(getattr(row.judged, kind), threshold) for kind in STAMPED]
        shares.append([found.detection_rate, found.false_positive_rate, *stamped])
    return [mean_share(list(column)) for column in zip(*shares, strict=True)]


def as_markdown(training: Training, unseen: Unseen, rows: list[Row], prefix: str, pool: Pool) -> str:
    """The table for people, one half per threshold."""
    parts = []
    for strict in (False, True):
        lines = []
        for method, group in by_method(rows):
            clean = np.mean([fast_auroc(row.judged.clean, row.judged.virus) for row in group])
            stamped = np.mean([against_stamped(row) for row in group])
            negatives = "yes" if method.with_stamped else "no"
            shares = at_threshold(group, strict=strict)
            lines.append([method.name, negatives, f"{clean:.3f}", f"{stamped:.3f}", *shares])
        parts.append(markdown_table(HEAD, lines))
    controls = 0 if unseen.stamped is None else len(unseen.stamped)
    innocent = 0 if unseen.stamped_all_classes is None else len(unseen.stamped_all_classes)
    opened = "The final pool was opened for this table." if pool == "final" else "The final pool was not opened."
    return f"""# Controls: the backdoor or only the stamping? {prefix}, {pool} viruses

Trained on {training}, stamped ones only where the row says so; tested on {len(unseen.clean)} clean and
{len(unseen.virus)} virus models, on {controls} models stamped with virus patterns and on {innocent} that saw stamped
images of every class, neither of which ever train. {opened}

Stamped models were trained on images stamped with patterns of the same kind as the trojaned ones, in the same number
and of the same classes, but under their true labels: whoever flags them sees the stamping. They are not wholly
innocent: where only one class was attacked, all their stamped images are of that one class, and a pattern may come to
stand for it. In those that saw stamped images of every class it cannot. Shares are means over
{len({row.seed for row in rows})} detector seeds; in brackets the first seed's 95 % interval (Clopper-Pearson, for
detection rates a stratified bootstrap). Stamped models with vaccine patterns are judged by held-out scores where they
trained. AUROC against stamped models: those with virus patterns where there are any, else those with vaccine patterns.

## At the best threshold on the training side

{parts[0]}

## At the threshold that flags at most {TOLERATED:.0%} of the held-out stamped models with vaccine patterns

It is fixed on the training side too; the share of stamped models with *virus* patterns is the test of it.

{parts[1]}
"""


HEAD = [
    "detector",
    "stamped negatives",
    "AUROC, clean",
    "AUROC, stamped",
    "detection rate",
    "false alarms",
    "stamped flagged, vaccine patterns",
    "stamped flagged, virus patterns",
    "stamped flagged, every class",
]
