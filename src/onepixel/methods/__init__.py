"""What the project compares itself with, one file each, behind one small protocol: see `base.Method`."""

from collections.abc import Callable

from onepixel.errors import UsageError
from onepixel.methods.artificial_brain_stimulation import ArtificialBrainStimulation
from onepixel.methods.base import Method, Needs, Score, TrainedMethod
from onepixel.methods.black_box_inversion import BlackBoxInversion
from onepixel.methods.maximum_margin import MaximumMargin
from onepixel.methods.meta_classifier import MetaNeuralAnalysis, UniversalLitmusPatterns
from onepixel.methods.neural_cleanse import NeuralCleanse
from onepixel.methods.weight_scan import WeightScan

__all__ = ["METHODS", "Method", "Needs", "Score", "TrainedMethod", "method"]

METHODS: dict[str, Callable[[], Method]] = {
    kind.name: kind
    for kind in (
        NeuralCleanse,
        ArtificialBrainStimulation,
        MetaNeuralAnalysis,
        UniversalLitmusPatterns,
        MaximumMargin,
        BlackBoxInversion,
        WeightScan,
    )
}
"""Every compared method by its name."""


def method(name: str) -> Method:
    """Return the compared method of that name with the settings that it was published with.

    Raises
    ------
    UsageError
        If there is none.
    """
    if name not in METHODS:
        raise UsageError(f"Expected one of {', '.join(METHODS)} for a method but got {name!r}.")
    return METHODS[name]()
