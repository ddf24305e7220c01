"""What the universal detector says of one classifier; an audit makes a verdict and an exhibit of it."""

from dataclasses import dataclass, field

from onepixel.detectors.verdict import Decision
from onepixel.reaches.change import Change, Place


@dataclass(frozen=True)
class Judgement:
    """A score with its reasons.

    Attributes
    ----------
    score : float
        Higher is more suspicious.
    threshold : float
        Scores at or above it are called trojaned.
    p_value : float
        Of the kind of clean networks for which it is largest.
    decision : str
        "trojaned" or "no evidence of a backdoor".
    target_class : int
        The most suspicious target.
    source_classes : tuple of int
        The classes that its best change drives there; all others for an all-to-one backdoor.
    change : Change
        What an exhibit applies.
    parts : dict
        The numbers that the score was made from.
    queries : int
        How many images the classifier answered, or forward passes' worth.
    target_scores : dict
        The score of every target by itself.
    """

    score: float
    threshold: float
    p_value: float
    decision: Decision
    target_class: int
    source_classes: tuple[int, ...]
    change: Change = field(repr=False)
    parts: dict[str, float] = field(default_factory=dict)
    queries: int = 0
    target_scores: dict[int, float] = field(default_factory=dict)

    @property
    def place(self) -> Place:
        """Top, left, height and width of the best change."""
        return self.change.place
