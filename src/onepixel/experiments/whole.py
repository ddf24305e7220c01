"""What `onepixel experiment all` repeats: which networks of a zoo, from which default images, how often."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from onepixel.experiments.models import MAIN, SIGNED, has, training_names
from onepixel.trojan import Pool


@dataclass(frozen=True)
class Effort:
    """How often things are repeated with other seeds.

    Attributes
    ----------
    repeats : int
        Splits per candidate when the detector is chosen.
    seeds : int
        Detector seeds per row of a table.
    detectors : int
        Detectors per size in the sample-size curve.
    """

    repeats: int = 3
    seeds: int = 10
    detectors: int = 20


@dataclass(frozen=True)
class Whole:
    """What `all` repeats: an experiment's `plan` says from it which options it is repeated with.

    Attributes
    ----------
    zoo : Path
    results : Path
        Every experiment writes into the folder of its name in it.
    pool : {"development", "final"}
        Which viruses are the test.
    effort : Effort
    """

    zoo: Path
    results: Path
    pool: Pool = "development"
    effort: Effort = Effort()

    @cached_property
    def endings(self) -> dict[str, list[str]]:
        """Endings (default images) by prefix (data set, architecture) of which the zoo has clean and vaccine models.

        Default images that are not `MAIN` are for `attacks`, `starts` and `table3` alone.
        """
        prefixes = sorted(folder.name.removesuffix("-vaccine") for folder in self.zoo.glob("*-vaccine"))
        found = {
            prefix: [e for e in MAIN if all(has(self.zoo, name) for name in training_names(prefix, e))]
            for prefix in prefixes
        }
        return {prefix: endings for prefix, endings in found.items() if endings}

    def sides(self) -> Iterator[tuple[str, str]]:
        """Yield prefixes with every default image that detectors are chosen for."""
        yield from ((prefix, SIGNED[ending]) for prefix, endings in self.endings.items() for ending in endings)

    def main_sides(self) -> Iterator[tuple[str, str]]:
        """Yield prefixes with the default image that everything is looked at from: class means where there are any."""
        yield from ((prefix, SIGNED[endings[-1]]) for prefix, endings in self.endings.items())

    def from_black(self) -> Iterator[str]:
        """Yield prefixes with signatures from black, the papers' start."""
        yield from (prefix for prefix, endings in self.endings.items() if "" in endings)

    def choice(self, prefix: str) -> Path:
        """Where the choice of detector is written that is used under every default image."""
        return self.results / "detectors" / f"{prefix}{self.endings.get(prefix, [''])[-1]}.csv"

    def testing(self, prefix: str) -> dict[str, Any]:
        """Options of a test on this pool."""
        return {"prefix": prefix, "pool": self.pool, "choice": self.choice(prefix), "seeds": self.effort.seeds}

    def other_triggers(self, prefix: str, ending: str) -> list[str]:
        """Names of triggers, such as "garments", that viruses of this pool have besides the usual ones."""
        before, after = f"{prefix}-virus-", f"-{self.pool}{ending}"
        return sorted(folder.name[len(before) : -len(after)] for folder in self.zoo.glob(f"{before}*{after}"))
