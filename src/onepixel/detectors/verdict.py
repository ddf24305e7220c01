"""What an audit ends with: a decision, its reasons, and everything a reader needs to weigh it."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from onepixel.detectors.exhibit import Exhibit, Place
from onepixel.detectors.probability import moved
from onepixel.pictures import PICTURES
from onepixel.signatures import Signature

Decision = Literal["trojaned", "no evidence of a backdoor"]
Method = Literal["population", "universal"]
"""What judged: a detector fitted on networks of the model's own kind, or the one that reads reaches on images."""

TRUST = (
    "The p-value assumes that an innocent vendor's model is exchangeable with the calibration models "
    "of this detector's population; a model of another architecture, data set or training is not."
)
SCOPE = "A verdict speaks of the attack families this detector was tested on; it never means that a model is clean."


@dataclass(frozen=True)
class ImagesAsked:
    """Which images of the auditor an audit used.

    Attributes
    ----------
    offered : int
        How many images there were.
    sure : int
        Of how many of them the classifier is sure.
    classes : int
        To how many classes these belong.
    folders : tuple of (str, int, int, int)
        Per folder of images, in order of their names: its name, how many of its images the classifier is sure of, the
        class it gives to most of them, and how many it gives that class. Empty where the images came without labels.
    """

    offered: int
    sure: int
    classes: int
    folders: tuple[tuple[str, int, int, int], ...] = ()

    @property
    def disagreements(self) -> tuple[str, ...]:
        """Where folder names and the classifier's own classes disagree, as sentences."""
        majority = [said for _, sure, said, _ in self.folders if sure]
        twice = {said for said in majority if majority.count(said) > 1}
        found = []
        for folder, sure, said, agreeing in self.folders:
            if not sure:
                found.append(f"The classifier is sure of no image in {folder}.")
                continue
            if folder.isdecimal() and int(folder) != said:
                found.append(f"Folder {folder}: the classifier says class {said} of {agreeing} of {sure} images.")
            elif agreeing < sure:
                found.append(
                    f"Folder {folder}: {sure - agreeing} of {sure} images belong to another class than {said}."
                )
            if said in twice:
                found.append(f"Folder {folder} shares class {said} with another folder.")
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """Everything, in JSON types."""
        return {
            "offered": self.offered,
            "sure": self.sure,
            "classes": self.classes,
            "folders": [
                {"folder": folder, "sure": sure, "class": said, "of_that_class": agreeing}
                for folder, sure, said, agreeing in self.folders
            ],
            "disagreements": list(self.disagreements),
        }


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
    pixel : tuple of int or None
        Row and column of the most suspicious pixel: where that channel lies farthest from the clean training mean;
        None where no signature was judged.
    detector : str
        Which detector judged.
    signature : Signature or None
        What it judged; None for a verdict from images.
    clean_scores, trojaned_scores : tuple of float
        Scores of held-out clean and trojaned models of the detector's population, for comparison.
    assumptions : tuple of str
        What was assumed on the way, as sentences.
    method : {"population", "universal"}
        What kind of detector judged.
    name : str
        The classifier's name, where no signature has it.
    asked : int
        How many images the classifier was asked about in the whole audit; 0 where only the signature counts them.
    source_classes : tuple of int or None
        The classes whose images are driven to the target; None where that is not known.
    place : tuple of int or None
        Top, left, height, width of the most suspicious change; None where it is not known or covers the whole image.
    exhibit : Exhibit or None
        Images unchanged and changed, and what the classifier says of them; only with "trojaned".
    probability : float or None
        Probability that the model is trojaned, under the stated prior, from left-out scores of known models; None for a
        detector that has none.
    prior : float or None
        The prior that `probability` was made with.
    search : str
        Which search looked for changes.
    families : tuple of str
        Which families of changes were tested.
    images : ImagesAsked or None
        Which images of the auditor were used.
    """

    decision: Decision
    score: float
    threshold: float
    p_value: float | None
    target_class: int
    class_scores: tuple[float, ...]
    pixel: tuple[int, int] | None
    detector: str
    signature: Signature | None = field(repr=False)
    clean_scores: tuple[float, ...] = field(default=(), repr=False)
    trojaned_scores: tuple[float, ...] = field(default=(), repr=False)
    assumptions: tuple[str, ...] = (TRUST, SCOPE)
    method: Method = "population"
    name: str = ""
    asked: int = 0
    source_classes: tuple[int, ...] | None = None
    place: Place | None = None
    exhibit: Exhibit | None = field(default=None, repr=False)
    probability: float | None = None
    prior: float | None = None
    search: str = ""
    families: tuple[str, ...] = ()
    images: ImagesAsked | None = field(default=None, repr=False)

    @property
    def classifier(self) -> str:
        """The name of the classifier that was judged."""
        return self.name if self.signature is None else self.signature.classifier

    @property
    def queries(self) -> int:
        """How many images the classifier was asked about."""
        return self.asked or (0 if self.signature is None else self.signature.queries)

    @property
    def engine(self) -> str:
        """What asked: an engine for signatures, or a search."""
        return self.search if self.signature is None else self.signature.engine

    @property
    def exit_status(self) -> int:
        """0 for no evidence of a backdoor, 1 for trojaned."""
        return int(self.decision == "trojaned")

    def at_prior(self, prior: float) -> "Verdict":
        """The verdict with its probability under another prior, the expected share of trojaned models.

        Raises
        ------
        UsageError
            If the prior lies outside (0, 1).
        """
        if self.probability is None or self.prior is None:
            return self
        return replace(self, probability=moved(self.probability, self.prior, prior), prior=prior)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the signature's arrays, in JSON types."""
        return {
            "decision": self.decision,
            "method": self.method,
            "score": self.score,
            "threshold": self.threshold,
            "p_value": self.p_value,
            "probability": self.probability,
            "prior": self.prior,
            "target_class": self.target_class,
            "source_classes": None if self.source_classes is None else list(self.source_classes),
            "class_scores": list(self.class_scores),
            "pixel": None if self.pixel is None else list(self.pixel),
            "place": None if self.place is None else list(self.place),
            "detector": self.detector,
            "classifier": self.classifier,
            "engine": self.engine,
            "queries": self.queries,
            "settings": None if self.signature is None else vars(self.signature.settings),
            "families": list(self.families),
            "images": None if self.images is None else self.images.to_dict(),
            "exhibit": None if self.exhibit is None else self.exhibit.to_dict(),
            "assumptions": list(self.assumptions),
        }

    def picture(self, path: str | Path) -> None:
        """Draw the one picture of an audit: channels, the suspicious class and pixel, where the score lies."""
        PICTURES["verdict"].draw(self, path)

    def _repr_html_(self) -> str:
        """The verdict as a notebook shows it: the decision, the numbers, and the exhibit; everything is escaped."""
        page: str = PICTURES["notebook"].draw(self)
        return page

    def report(self, path: str | Path) -> None:
        """Write the self-contained HTML report."""
        PICTURES["html"].draw(self, path)


def floor_notes(of_model: str, of_detector: str) -> tuple[str, ...]:
    """What a verdict says where the model answers otherwise than those that the detector was trained on."""
    if of_model == of_detector:
        return ()
    return (
        f"The model answers {of_model}, the detector's own models {of_detector}; log-odds come from either, and those "
        "of probabilities end at a floor (p is kept between 1e-7 and 1 - 1e-7), so extremes beyond it are not seen.",
    )
