"""What `onepixel experiment all` repeats: which networks of a zoo, from which default images, how often."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from onepixel.populations.models import has, load_models
from onepixel.populations.names import BLACK, MAIN, PopulationName
from onepixel.trojan import Pool

Kind = TypeVar("Kind", bound=BaseModel)


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

    @property
    def networks(self) -> list[PopulationName]:
        """Those that the zoo has clean and vaccine models of, once for every start of `MAIN`, trained from scratch."""
        return [networks for networks in self._every if not networks.tuned]

    @property
    def tuned(self) -> list[PopulationName]:
        """The same of networks that were fine-tuned from bases: of large ones with many classes, looked at once."""
        return [networks for networks in self._every if networks.tuned]

    @cached_property
    def _every(self) -> list[PopulationName]:
        there = [PopulationName.parse(folder.name) for folder in sorted(self.zoo.glob("*-vaccine*"))]
        families = dict.fromkeys(replace(name, kind="", start=BLACK) for name in there if name.kind == "vaccine")
        signed = [replace(family, start=start) for family in families for start in MAIN]
        return [networks for networks in signed if has(self.zoo, *map(networks.of, ("clean", "vaccine")))]

    @property
    def main(self) -> list[PopulationName]:
        """The same networks once, with the start that everything is looked at from: class means where there are any."""
        return list({networks.networks: networks for networks in self.networks}.values())

    @property
    def from_black(self) -> list[PopulationName]:
        """Those that start from black, as in the papers."""
        return [networks for networks in self.networks if networks.start == BLACK]

    def repeated(self, options: type[Kind], networks: Iterable[PopulationName], **said: Any) -> Iterator[Kind]:
        """Yield options for each of the networks, with the pool, choice and effort that they have, and what is said."""
        for one in networks:
            known = {
                "prefix": one.networks,
                "default_image": str(one.start),
                "pool": self.pool,
                "choice": self.choice(one),
                **vars(self.effort),
                **said,
            }
            yield options(**{name: value for name, value in known.items() if name in options.model_fields})

    def training_clean(self, networks: PopulationName) -> int | None:
        """How many clean models choose a detector: all where others test, of the final pool; else the usual half."""
        return len(load_models(self.zoo, networks.of("clean"))[0]) if self.pool == "final" else None

    def choice(self, networks: PopulationName) -> Path:
        """Where the choice of detector is written that is used under every default image."""
        asked = PopulationName.parse(networks.chooser)
        chosen = next((one for one in self.main if one.networks == asked.networks), asked)
        return self.results / "detectors" / f"{chosen}.csv"

    def other_triggers(self, networks: PopulationName) -> list[str]:
        """Names of triggers, such as "garments", that viruses of this pool have besides the usual ones."""
        before, after = str(networks.of("virus-*")).split("*")
        found = self.zoo.glob(f"{before}*-{self.pool}{after}")
        return sorted(folder.name[len(before) : -len(f"-{self.pool}{after}")] for folder in found)
