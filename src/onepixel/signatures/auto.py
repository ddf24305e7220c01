"""`engine="auto"`: the fastest exact engine, by a short rule that depends on counts alone.

1. A classifier that is no torch module, or a module that the incremental engine refuses, goes to the exhaustive engine.
2. So does one whose windows cost more than `WORTHWHILE` of a full forward pass, in multiply-adds.
3. Everything else goes to the incremental engine.
"""

from dataclasses import replace

from onepixel.classifiers import Classifier, ModuleClassifier
from onepixel.errors import ExactnessError
from onepixel.signatures.exhaustive import exhaustive
from onepixel.signatures.incremental import NotIncrementalError, prepare
from onepixel.signatures.plan import Advance, Extremes, Plan

WORTHWHILE = 0.9


def auto(classifier: Classifier, plan: Plan, advance: Advance) -> Extremes:
    """Choose, run, and say why in the note."""
    if not isinstance(classifier, ModuleClassifier):
        return exhaustively(classifier, plan, advance, "it is the only exact engine for what is no torch module")
    try:
        prepared = prepare(classifier, plan)
    except NotIncrementalError as error:
        return exhaustively(classifier, plan, advance, f"the incremental engine cannot run this module: {error}")
    share = prepared.cost.share
    if share > WORTHWHILE:
        why = f"the windows of one pixel cost {share:.0%} of a full forward pass"
        return exhaustively(classifier, plan, advance, why)
    try:
        extremes = prepared.run(advance)
    except ExactnessError as error:
        if not classifier.stands_in:
            raise
        return exhaustively(classifier, plan, advance, f"its module does not stand in for it. {error}")
    why = f"incremental: the windows of one pixel cost {share:.1%} of a full forward pass"
    return replace(extremes, note=why)


def exhaustively(classifier: Classifier, plan: Plan, advance: Advance, why: str) -> Extremes:
    """Run the exhaustive engine and note the reason."""
    return replace(exhaustive(classifier, plan, advance), note=f"exhaustive: {why}")
