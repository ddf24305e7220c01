"""The shipped calibration of the universal detector: what clean networks of many kinds score, and the threshold."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onepixel.detectors.probability import PRIOR, probability
from onepixel.errors import DetectorError, UsageError
from onepixel.files import write_text

FORMAT = "onepixel-universal-1"

LEAST = 20
"""Clean networks that a kind needs to count by itself in a p-value; kinds of fewer count together as one."""

ALPHA = 0.05
"""The p-value at and below which a classifier is called trojaned."""


@dataclass(frozen=True)
class Calibration:
    """How parts become a score, and what scores mean, for one search.

    Attributes
    ----------
    parts : dict
        For each part that counts, its centre and scale. No centre is fitted, and the scales are given, since every part
        is a lead in log-odds already, and what would be fitted to some kinds need not hold for another.
    clean, trojaned : dict
        Scores of clean and of trojaned networks by kind.
    threshold : float
        Scores at or above it are called trojaned.
    channels : dict
        Of the images of each kind, where that is known; see `showing`.
    """

    parts: dict[str, tuple[float, float]]
    clean: dict[str, tuple[float, ...]]
    trojaned: dict[str, tuple[float, ...]]
    threshold: float
    channels: dict[str, int] = field(default_factory=dict)

    def score(self, parts: Mapping[str, float]) -> tuple[float, str]:
        """The largest of the parts, each from its centre on in units of its scale, and which part it is.

        Raises
        ------
        DetectorError
            If none of the parts that count was measured.
        """
        found = {
            name: (parts[name] - centre) / scale
            for name, (centre, scale) in self.parts.items()
            if name in parts and np.isfinite(parts[name])
        }
        if not found:
            raise DetectorError("Nothing was measured that the universal detector could judge by.")
        name = max(found, key=lambda one: found[one])
        return found[name], name

    def p_value(self, score: float) -> float:
        """A p-value that is conservative over kinds.

        The larger of the conformal one of all clean networks together, (1 + those at or above the score) / (n + 1),
        and of the share at or above the score in the kind where that share is largest.
        """
        return float(self.p_values(np.array([score]))[0])

    def p_values(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """The p-value of each score."""
        groups = grouped(self.clean)
        every = np.concatenate(groups)
        conformal = (1 + (every[None, :] >= scores[:, None]).sum(axis=1)) / (len(every) + 1)
        shares = [(group[None, :] >= scores[:, None]).mean(axis=1) for group in groups]
        worst: NDArray[np.float64] = np.maximum(conformal, np.max(shares, axis=0))
        return worst

    def threshold_at(self, alpha: float) -> float:
        """The lowest score whose p-value is at most alpha, or just above all clean ones where there are too few."""
        every = np.unique(np.concatenate(grouped(self.clean)))
        above = np.nextafter(every, np.inf)
        allowed = above[self.p_values(above) <= alpha]
        return float(allowed[0] if len(allowed) else above[-1])

    def probability(self, score: float, prior: float = PRIOR) -> float:
        """The probability that a classifier with this score is trojaned, by logistic regression on left-out scores.

        Parameters
        ----------
        score : float
        prior : float
            The share of trojaned classifiers that is expected, in (0, 1).

        Raises
        ------
        UsageError
            If the prior lies outside (0, 1), or there are no trojaned networks to compare with.
        """
        tables = (self.clean, self.trojaned)
        clean, trojaned = ([one for scores in kinds.values() for one in scores] for kinds in tables)
        found = probability(score, clean, trojaned, prior)
        if found is None:
            raise UsageError("This calibration has no trojaned networks, from which a probability could be told.")
        return found

    def to_dict(self) -> dict[str, Any]:
        """In JSON types."""
        rounded = {
            name: {kind: [round(float(one), 3) for one in scores] for kind, scores in table.items()}
            for name, table in (("clean", self.clean), ("trojaned", self.trojaned))
        }
        parts = {name: [round(float(number), 4) for number in pair] for name, pair in self.parts.items()}
        channels = {"channels": self.channels} if self.channels else {}
        return {"parts": parts, **channels, **rounded, "threshold": round(float(self.threshold), 4)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Calibration":
        """From what `to_dict` gave."""
        return cls(
            parts={name: (float(pair[0]), float(pair[1])) for name, pair in content["parts"].items()},
            clean={kind: tuple(scores) for kind, scores in content["clean"].items()},
            trojaned={kind: tuple(scores) for kind, scores in content["trojaned"].items()},
            threshold=float(content["threshold"]),
            channels={kind: int(number) for kind, number in content.get("channels", {}).items()},
        )

    @classmethod
    def fit(
        cls,
        clean: Mapping[str, Sequence[Mapping[str, float]]],
        trojaned: Mapping[str, Sequence[Mapping[str, float]]],
        scales: Mapping[str, float],
        alpha: float = ALPHA,
        channels: Mapping[str, int] | None = None,
    ) -> "Calibration":
        """Fit on the parts of clean and trojaned networks by kind.

        The threshold comes from the clean networks alone; trojaned ones serve `probability`. Nothing of a score is
        fitted, so that the scores that are kept are those that the networks would have if their kind were left out.

        Parameters
        ----------
        clean, trojaned : dict
            By kind, each network's parts.
        scales : dict
            The parts that count, and what each is divided by.
        alpha : float
            The p-value at and below which a classifier is called trojaned.
        channels : dict, optional
            Of the images of each kind, where that is known.

        Raises
        ------
        UsageError
            If there is no clean network.
        """
        if not any(clean.values()):
            raise UsageError("The universal detector is calibrated on clean networks; there are none.")

        bare = cls({name: (0.0, scale) for name, scale in scales.items()}, {}, {}, float("inf"))
        tables = [
            {kind: tuple(bare.score(one)[0] for one in networks) for kind, networks in group.items() if len(networks)}
            for group in (clean, trojaned)
        ]
        return replace(bare, clean=tables[0], trojaned=tables[1], channels=dict(channels or {})).at(alpha)

    def showing(self, channels: int, alpha: float = ALPHA) -> "Calibration":
        """The same for a classifier of images of so many channels, which anyone can see of it.

        Kinds of more channels do not count: a patch can do more in colour than in grey, so what clean colour networks
        reach says nothing of a grey one. Those of fewer do, and so do kinds of which it is not known. Where all kinds
        count, or no clean network would be left, nothing changes.
        """
        tables = [
            {kind: scores for kind, scores in table.items() if self.channels.get(kind, 0) <= channels}
            for table in (self.clean, self.trojaned)
        ]
        if not tables[0] or tables == [self.clean, self.trojaned]:
            return self
        return replace(self, clean=tables[0], trojaned=tables[1]).at(alpha)

    def at(self, alpha: float) -> "Calibration":
        """The same with the threshold of another p-value."""
        return replace(self, threshold=self.threshold_at(alpha))


def grouped(clean: Mapping[str, Sequence[float]]) -> list[NDArray[np.float64]]:
    """The scores of each kind that counts by itself, and those of all smaller kinds together."""
    kinds = [np.array(scores) for scores in clean.values()]
    small = [scores for scores in kinds if len(scores) < LEAST]
    large = [scores for scores in kinds if len(scores) >= LEAST]
    return [*large, np.concatenate(small)] if small else large


def write_calibrations(path: str | Path, calibrations: Mapping[str, Calibration], about: Mapping[str, Any]) -> None:
    """Write one JSON file: a calibration for each search, and where it comes from."""
    content = {
        "format": FORMAT,
        "about": dict(about),
        "searches": {search: calibration.to_dict() for search, calibration in calibrations.items()},
    }
    write_text(path, json.dumps(content, indent=1) + "\n")


def read_calibrations(path: str | Path | None = None) -> dict[str, Calibration]:
    """Read such a file; the shipped one unless said otherwise.

    Raises
    ------
    DetectorError
        If it is damaged.
    """
    try:
        shipped = files("onepixel.detectors.shipped").joinpath("universal.json")
        text = shipped.read_text(encoding="utf-8") if path is None else Path(path).read_text(encoding="utf-8")
        content = json.loads(text)
        if content["format"] != FORMAT:
            raise DetectorError("The universal detector's calibration is of another version.")
        return {search: Calibration.from_dict(part) for search, part in content["searches"].items()}
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DetectorError("The universal detector's calibration is missing or damaged.") from error
