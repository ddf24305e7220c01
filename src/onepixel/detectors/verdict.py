"""What an audit ends with: a decision, its reasons, and everything a reader needs to weigh it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from onepixel.signatures import Signature

Decision = Literal["trojaned", "no evidence of a backdoor"]

TRUST = (
    "The p-value assumes that an innocent vendor's model is exchangeable with the calibration models "
    "of this detector's population; a model of another architecture, data set or training is not."
)
SCOPE = "A verdict speaks of the attack families this detector was tested on; it never means that a model is clean."


@dataclass(frozen=True)
class Verdict:
    """The outcome of one audit.

    Attributes
    ----------
    decision : str
        "trojaned" or "no evidence of a backdoor".
    score : float
        The detector's score; higher is more suspicious.
    threshold : float
        Scores at or above it are called trojaned.
    p_value : float or None
        (1 + calibration scores at or above this one) / (n + 1); None for a detector that was not calibrated.
    target_class : int
        The most suspicious class: the channel whose own score is highest.
    class_scores : tuple of float
        The score of each class's channel, K numbers.
    pixel : tuple of int
        Row and column of the most suspicious pixel: where that channel lies farthest from the clean training mean.
    detector : str
        Which detector judged.
    signature : Signature
        What it judged.
    clean_scores, trojaned_scores : tuple of float
        Scores of held-out clean and trojaned models of the detector's population, for comparison.
    assumptions : tuple of str
        What was assumed on the way, as sentences.
    """

    decision: Decision
    score: float
    threshold: float
    p_value: float | None
    target_class: int
    class_scores: tuple[float, ...]
    pixel: tuple[int, int]
    detector: str
    signature: Signature = field(repr=False)
    clean_scores: tuple[float, ...] = field(default=(), repr=False)
    trojaned_scores: tuple[float, ...] = field(default=(), repr=False)
    assumptions: tuple[str, ...] = (TRUST, SCOPE)

    @property
    def exit_status(self) -> int:
        """0 for no evidence of a backdoor, 1 for trojaned."""
        return int(self.decision == "trojaned")

    def to_dict(self) -> dict[str, Any]:
        """Everything but the signature's arrays, in JSON types."""
        signature = self.signature
        return {
            "decision": self.decision,
            "score": self.score,
            "threshold": self.threshold,
            "p_value": self.p_value,
            "target_class": self.target_class,
            "class_scores": list(self.class_scores),
            "pixel": list(self.pixel),
            "detector": self.detector,
            "classifier": signature.classifier,
            "engine": signature.engine,
            "queries": signature.queries,
            "settings": vars(signature.settings),
            "assumptions": list(self.assumptions),
        }

    def picture(self, path: str | Path) -> None:
        """Draw the one picture of an audit: channels, the suspicious class and pixel, where the score lies."""
        from onepixel.report.figures import save_verdict

        save_verdict(self, path)

    def report(self, path: str | Path) -> None:
        """Write the self-contained HTML report."""
        from onepixel.report.html import write_report

        write_report(self, path)
