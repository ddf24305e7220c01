"""The universal detector: how far real images can be driven, against what clean networks of many kinds allow."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from onepixel.classifiers import Classifier
from onepixel.detectors.judgement import Judgement
from onepixel.detectors.reach_parts import (
    PATCHES,
    Part,
    parts_of,
    reads_rivals,
    reads_windows,
    sources_of,
    target_values,
)
from onepixel.detectors.universal_calibration import Calibration, read_calibrations
from onepixel.errors import BudgetError, DetectorError
from onepixel.reaches import Family, Reach, SampleImages, reach
from onepixel.reaches.families import FAMILIES
from onepixel.reaches.search import choose_search

SOUGHT: dict[str, tuple[str, ...]] = {
    "gradient": ("patch", "speck", "broad", "blend", "warp"),
    "composed": ("patch",),
}
"""The families that each search looks for, by their names in `FAMILIES`."""

BY_CLASS = PATCHES
"""Families that are looked for from each class by itself, too, and not only from all at once; of what is left of a
budget, they get twice as much as the others."""


def families_for(search: str, height: int, width: int) -> dict[str, Family]:
    """The families of a search for images of that size: patches grow with them, and some sizes have one alone."""
    found = {name: FAMILIES[name].suited(height, width) for name in SOUGHT[search]}
    return {name: family for name, family in found.items() if family is not None}


@dataclass(frozen=True)
class UniversalDetector:
    """Judges any classifier by a few sample images.

    Attributes
    ----------
    calibrations : dict
        By the name of the search.
    """

    calibrations: Mapping[str, Calibration]

    @classmethod
    def shipped(cls) -> "UniversalDetector":
        """The detector with the calibration that comes with onepixel."""
        return cls(read_calibrations())

    @classmethod
    def load(cls, path: str | Path) -> "UniversalDetector":
        """The detector with a calibration of one's own.

        Raises
        ------
        DetectorError
            If the file is damaged.
        """
        return cls(read_calibrations(path))

    def measure(
        self,
        classifier: Classifier,
        samples: SampleImages,
        *,
        search: str = "auto",
        budget: int | None = None,
        progress: bool = False,
    ) -> dict[str, Reach]:
        """The reaches that the score is read from, by their families' short names.

        What windows of real images reach, and how far other targets get at a place, is left out where no part of the
        calibration reads it. Without a calibration for the search, everything is measured.

        Raises
        ------
        BudgetError
            If the budget does not suffice for the first of them.
        """
        chosen = choose_search(classifier, search)
        known = self.calibrations.get(chosen)
        natural = known is None or reads_windows(known.parts)
        rivals = None if known is None or reads_rivals(known.parts) else False
        found: dict[str, Reach] = {}
        families = families_for(chosen, *classifier.input_shape[1:])
        weights = [2 if name in BY_CLASS else 1 for name in families]
        for position, (name, family) in enumerate(families.items()):
            spent = sum(one.queries for one in found.values())
            share = None if budget is None else max(1, (budget - spent) * weights[position] // sum(weights[position:]))
            try:
                found[name] = reach(
                    classifier,
                    samples,
                    family=family,
                    search=chosen,
                    budget=share,
                    natural=natural,
                    pairs=name in BY_CLASS,
                    rivals=rivals,
                    progress=progress,
                )
            except BudgetError:
                if not found:
                    raise
        return found

    def judge(
        self,
        classifier: Classifier,
        samples: SampleImages,
        *,
        search: str = "auto",
        budget: int | None = None,
        progress: bool = False,
    ) -> Judgement:
        """Search, score and decide.

        Parameters
        ----------
        classifier : Classifier
        samples : SampleImages
            See `sample_images`.
        search : {"auto", "composed", "gradient"}
        budget : int, optional
            Images that may be asked at most; never exceeded.
        progress : bool

        Raises
        ------
        UndecidedError
            If the images or the budget do not suffice.
        """
        reaches = self.measure(classifier, samples, search=search, budget=budget, progress=progress)
        return self.judge_reaches(reaches)

    def judge_reaches(self, reaches: Mapping[str, Reach]) -> Judgement:
        """Score and decide from reaches that were measured before.

        Raises
        ------
        DetectorError
            If there is no calibration for their search.
        """
        search = next(iter(reaches.values())).search
        if search not in self.calibrations:
            raise DetectorError(f"The universal detector has no calibration for the {search} search.")
        calibration = self.calibrations[search].showing(channels_shown(reaches))
        parts = {part.name: part for part in parts_of(reaches)}
        values = {name: part.value for name, part in parts.items()}
        score, decisive = calibration.score(values)
        part = plainest(parts[decisive], parts.values())
        return Judgement(
            score=score,
            threshold=calibration.threshold,
            p_value=calibration.p_value(score),
            decision="trojaned" if score >= calibration.threshold else "no evidence of a backdoor",
            target_class=int(part.reach.target[part.finding]),
            source_classes=sources_of(part.reach, part.finding),
            change=part.reach.change(part.finding),
            parts=values,
            queries=sum(one.queries for one in reaches.values()),
            target_scores=target_scores(calibration, reaches),
        )

    def probability(self, score: float, *, search: str = "gradient", prior: float = 0.5, channels: int = 3) -> float:
        """The probability of a backdoor at a score of a classifier of so many channels; see `Calibration`."""
        return self.calibrations[search].showing(channels).probability(score, prior)


def channels_shown(reaches: Mapping[str, Reach]) -> int:
    """Of the images of the classifier that reaches were measured of; 3 where only warps were, which do not show it."""
    return next((int(one.fillings.shape[1]) for one in reaches.values() if not one.displacement), 3)


def plainest(decisive: Part, parts: Iterable[Part]) -> Part:
    """Of the findings that lead to the decisive part's target, the one that turned most fresh images into it.

    A backdoor of one class moves the other classes a little too; what a reader is shown should be the class it is of.
    """

    def turned(part: Part) -> float:
        return float(part.reach.flipped[part.finding])

    target = decisive.reach.target[decisive.finding]
    return max([decisive, *(part for part in parts if part.reach.target[part.finding] == target)], key=turned)


def target_scores(calibration: Calibration, reaches: Mapping[str, Reach]) -> dict[int, float]:
    """The score of every target by its own findings: the largest of its highest reaches, in the score's units."""
    scores: dict[int, float] = {}
    for name, (centre, scale) in calibration.parts.items():
        for target, value in target_values(name, reaches).items():
            scores[target] = max((value - centre) / scale, scores.get(target, float("-inf")))
    return scores
