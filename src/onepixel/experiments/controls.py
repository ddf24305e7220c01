"""Does a detector see the backdoor or only the stamping? Detectors with and without stamped models in training.

Stamped models saw images with the same patterns under their true labels. Both rates are published side by side: how
well viruses are told from clean models, and how many stamped models are flagged, at two thresholds that are fixed on
the training side: the best one, and one at which at most a tenth of the held-out stamped models are flagged.
"""

from collections.abc import Sequence

import numpy as np

from onepixel.detectors.metrics import fast_auroc
from onepixel.errors import UsageError
from onepixel.experiments.choices import papers
from onepixel.experiments.declared import Cells, Experiment, Laboratory, Result
from onepixel.experiments.judging import CROSS_ENTROPY, TOLERATED, Row, over_seeds
from onepixel.experiments.models import Training, Unseen
from onepixel.experiments.options import Tested
from onepixel.experiments.table2 import baselines, by_method, judge_viruses, load_sides, needs, opened
from onepixel.report.tables import markdown_table


class Options(Tested):
    """Options of `onepixel experiment controls`."""


def find(options: Options, laboratory: Laboratory) -> Result[list[Row]]:
    """Fit the baselines, the papers' whole reading and the chosen detector without and with stamped negatives."""
    detectors = [*papers(0), options.chosen()]
    sides = load_sides(options, laboratory, [method.name for method in detectors])
    if sides[0].stamped is None:
        name = options.networks.of("stamped-vaccine")
        raise UsageError(f"{laboratory.zoo} has no {name}, without which there are no controls.")
    methods = [one for method in (*baselines(), *detectors) for one in (method, method.stamped)]
    rows = judge_viruses(methods, sides, options, laboratory)
    return Result.of(rows, options.subject, map(for_machines, rows), as_markdown(options, sides, rows))


EXPERIMENT = Experiment(
    "controls",
    "Do detectors see the backdoor or only the stamping? With and without stamped models in training.",
    Options,
    find,
    needs=needs,
    plan=lambda whole: whole.repeated(Options, whole.main),
    provides=("fits",),
    after={"table2": ("prefix", "default_image")},
)


STAMPED = {
    "stamped_vaccine": "vaccine patterns",
    "stamped_virus": "virus patterns",
    "stamped_all_classes": "every class",
}
"""The kinds of stamped models, as `Judged` names their scores, and what they were stamped with."""


def areas(row: Row) -> tuple[float, float]:
    """Areas under the curve of virus against clean, and against stamped models, those with virus patterns if any."""
    judged = row.judged
    stamped = judged.of("stamped_virus") if len(judged.of("stamped_virus")) else judged.of("stamped_vaccine")
    return fast_auroc(judged.of("clean"), judged.of("virus")), fast_auroc(stamped, judged.of("virus"))


def for_machines(row: Row) -> Cells:
    """One row for machines."""
    judged = row.judged
    about: Cells = {"method": row.method.name, "stamped_negatives": row.method.with_stamped, "seed": row.seed}
    about |= dict(zip(("auroc_clean", "auroc_stamped"), areas(row), strict=True))
    about["cross_entropy"] = judged.evaluation().cross_entropy
    for name, threshold in (("best", judged.threshold), ("strict", judged.strict_threshold)):
        found = judged.evaluation(threshold)
        about |= {
            f"detection_rate_{name}": found.detection_rate,
            f"false_positive_rate_{name}": found.false_positive_rate,
            **{f"{kind}_flagged_{name}": judged.flagged(kind, threshold) for kind in STAMPED},
        }
    return about


def table_at(rows: Sequence[Row], *, strict: bool) -> str:
    """Detection rate, false alarms, and each kind of stamped models flagged, over seeds, at one of the thresholds."""
    lines = []
    for method, group in by_method(rows):
        judged = [row.judged for row in group]
        thresholds = [one.strict_threshold if strict else one.threshold for one in judged]
        pairs = list(zip(judged, thresholds, strict=True))
        found = [one.evaluation(threshold) for one, threshold in pairs]
        lines.append(
            [
                method.name,
                "yes" if method.with_stamped else "no",
                *(f"{area:.3f}" for area in np.mean([areas(row) for row in group], axis=0)),
                over_seeds([one.cross_entropy for one in found], ".3f"),
                over_seeds([one.detection_rate for one in found]),
                over_seeds([one.false_positive_rate for one in found]),
                *(over_seeds([one.flagged(kind, threshold) for one, threshold in pairs]) for kind in STAMPED),
            ]
        )
    head = ["detector", "stamped negatives", "AUROC, clean", "AUROC, stamped", "cross-entropy"]
    head += ["detection rate", "false alarms"]
    return markdown_table([*head, *(f"stamped flagged, {words}" for words in STAMPED.values())], lines)


def as_markdown(options: Options, sides: tuple[Training, Unseen], rows: Sequence[Row]) -> str:
    """The table for people, one half per threshold."""
    training, unseen = sides
    controls, innocent = (len(models or ()) for models in (unseen.stamped, unseen.stamped_all_classes))
    return f"""# Controls: the backdoor or only the stamping? {options.networks}, {options.pool} viruses

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

{CROSS_ENTROPY} Probabilities do not depend on the threshold.

## At the best threshold on the training side

{table_at(rows, strict=False)}

## At the threshold that flags at most {TOLERATED:.0%} of the held-out stamped models with vaccine patterns

It is fixed on the training side too; the share of stamped models with *virus* patterns is the test of it.

{table_at(rows, strict=True)}
"""
