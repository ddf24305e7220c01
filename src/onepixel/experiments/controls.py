"""Does a detector see the backdoor or only the stamping? Detectors with and without stamped models in training.

Stamped models saw images with the same patterns under their true labels. Both rates are published side by side: how
well viruses are told from clean models, and how many stamped models are flagged, at two thresholds that are fixed on
the training side: the best one, and one at which at most a tenth of the held-out stamped models are flagged.
"""

from collections.abc import Iterator

import numpy as np

from onepixel.detectors.metrics import Estimate, balanced_accuracy, fast_auroc
from onepixel.errors import UsageError
from onepixel.experiments.candidates import LITERAL
from onepixel.experiments.choices import Choice, read_choice
from onepixel.experiments.declared import Experiment, Laboratory, Result
from onepixel.experiments.judging import BASELINES, TOLERATED, flagged, mean_share
from onepixel.experiments.models import Training, Unseen
from onepixel.experiments.options import Tested
from onepixel.experiments.results import markdown_table
from onepixel.experiments.table2 import Method, Row, by_method, judge_all, load_sides, needs, opened
from onepixel.experiments.whole import Whole


def methods(choice: Choice) -> list[Method]:
    """Each baseline, the papers' whole reading, and the chosen detector: without and with stamped negatives."""
    whole = next(iter(LITERAL))
    named = {**dict.fromkeys(BASELINES), whole: LITERAL[whole], f"chosen: {choice.name}": choice.parameters}
    return [Method(name, parameters, stamped) for name, parameters in named.items() for stamped in (False, True)]


class Options(Tested):
    """Options of `onepixel experiment controls`."""

    @property
    def subject(self) -> str:
        """Networks, what their signatures start from, and the viruses."""
        return f"{super().subject}-{self.pool}"


def find(options: Options, laboratory: Laboratory) -> Result[list[Row]]:
    """Fit detectors with and without stamped negatives."""
    table = methods(read_choice(options.choice, options.prefix))
    names = list(dict.fromkeys(method.name for method in table if method.parameters is not None))
    training, unseen = load_sides(options, laboratory, names)
    if training.stamped is None:
        name = f"{options.prefix}-stamped-vaccine{options.ending}"
        raise UsageError(f"{laboratory.zoo} has no {name}, without which there are no controls.")
    rows = judge_all(table, training, unseen, options.detector_seeds, laboratory)
    text = as_markdown(options, training, unseen, rows)
    return Result(rows, options.subject, CSV_HEAD, [csv_line(row) for row in rows], text)


def plan(whole: Whole) -> Iterator[Options]:
    """From class means where the zoo has them."""
    for prefix, image in whole.main_sides():
        yield Options(default_image=image, **whole.testing(prefix))


EXPERIMENT = Experiment(
    "controls",
    "Do detectors see the backdoor or only the stamping? With and without stamped models in training.",
    Options,
    find,
    needs=needs,
    plan=plan,
    provides=("fits",),
    after={"table2": ("prefix", "default_image")},
)


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


def as_markdown(options: Options, training: Training, unseen: Unseen, rows: list[Row]) -> str:
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
    return f"""# Controls: the backdoor or only the stamping? {options.prefix}{options.ending}, {options.pool} viruses

Trained on {training}, stamped ones only where the row says so; tested on {len(unseen.clean)} clean and
{len(unseen.virus)} virus models, on {controls} models stamped with virus patterns and on {innocent} that saw stamped
images of every class, neither of which ever train. {opened(options)}

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
