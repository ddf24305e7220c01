"""`engine="auto"`: the fastest exact engine, by a short rule that depends on counts alone.

1. A classifier that is no torch module, or a module that the incremental engine refuses, goes to the exhaustive engine.
2. So does one whose windows cost more than `WORTHWHILE` of a full forward pass, in multiply-adds.
3. Everything else goes to the incremental engine.
"""

from collections.abc import Sequence
from dataclasses import replace

from onepixel.classifiers import Classifier, ModuleClassifier
from onepixel.errors import ExactnessError
from onepixel.signatures.exhaustive import exhaustive
from onepixel.signatures.incremental import NotIncrementalError, prepare
from onepixel.signatures.plan import Advance, Extremes, Plan

WORTHWHILE = 0.9


def auto(classifier: Classifier, plan: Plan, advance: Advance) -> Extremes:
    """Choose, run, and say why in the note."""
    return auto_together(classifier, [plan], advance)[0]


def auto_together(classifier: Classifier, plans: Sequence[Plan], advance: Advance) -> list[Extremes]:
    """The same for several default images in one pass: plans that differ in nothing else."""
    if not isinstance(classifier, ModuleClassifier):
        return exhaustively(classifier, plans, advance, "it is the only exact engine for what is no torch module")
    try:
        prepared = prepare(classifier, plans)
    except NotIncrementalError as error:
        return exhaustively(classifier, plans, advance, f"the incremental engine cannot run this module: {error}")
    share = prepared.cost.share
    if share > WORTHWHILE:
        why = f"the windows of one pixel cost {share:.0%} of a full forward pass"
        return exhaustively(classifier, plans, advance, why)
    try:
        found = prepared.run(advance)
    except ExactnessError as error:
        if not classifier.stands_in:
            raise
        return exhaustively(classifier, plans, advance, f"its module does not stand in for it. {error}")
    why = f"incremental: the windows of one pixel cost {share:.1%} of a full forward pass"
    return [replace(extremes, note=why) for extremes in found]


def exhaustively(classifier: Classifier, plans: Sequence[Plan], advance: Advance, why: str) -> list[Extremes]:
    """Run the exhaustive engine from every default image and note the reason."""
    return [replace(exhaustive(classifier, plan, advance), note=f"exhaustive: {why}") for plan in plans]
