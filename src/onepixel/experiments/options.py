"""Options that several experiments share, as bases of their options classes.

Fields of bases that stand last come first, on the command line too.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator

from onepixel.experiments.choices import Method, read_choice, usual_choice
from onepixel.experiments.option import FOLDER, USUAL_FOLDER, ExperimentOptions, Said
from onepixel.populations.names import BLACK, PopulationName, Start
from onepixel.trojan import Pool

DefaultImage = Annotated[
    str,
    Field(description="The populations that were signed from black, class means, mean, ..."),
    Said(metavar="IMAGE", when_changed=True),
]
Seeds = Annotated[int, Field(ge=1, description="How many detector seeds.")]


class Networked(ExperimentOptions):
    """What knows its networks."""

    @property
    def networks(self) -> PopulationName:
        """Data set, architecture, and what signatures start from, of any kind."""
        raise NotImplementedError


class Prefixed(Networked):
    """Which networks."""

    prefix: Annotated[str, Field(description="Data set and architecture, as population names begin.")] = "mnist-lenet5"

    @property
    def networks(self) -> PopulationName:
        """Data set, architecture, and what signatures start from, of any kind."""
        return replace(PopulationName.parse(self.prefix), start=getattr(self, "start", BLACK))

    @property
    def chooser(self) -> str:
        """The networks on which their detector is chosen."""
        return self.networks.chooser

    @property
    def subject(self) -> str:
        """The same in a word."""
        return str(self.networks)


class Measured(ExperimentOptions):
    """Networks that the universal detector measured."""

    networks: Annotated[
        Path, Field(description="The folder of measured networks, which fix what is a high score."), USUAL_FOLDER
    ] = Path("results/any-classifier/networks")


class Growing(ExperimentOptions):
    """Records that grow by what stores have and they lack."""

    stores: Annotated[
        Path | None,
        Field(description="A folder of stores, whose networks are measured first."),
        FOLDER,
    ] = None


class Signed(ExperimentOptions):
    """What signatures start from."""

    default_image: DefaultImage = "black"

    @field_validator("default_image")
    @classmethod
    def _known(cls, image: str) -> str:
        return str(Start.called(image))

    @property
    def start(self) -> Start:
        """The same as data."""
        return Start.called(self.default_image)


class Split(ExperimentOptions):
    """Which clean models train."""

    training_clean: Annotated[
        int | None,
        Field(
            ge=2,
            description="Clean models that train, from the first on; the others test. Half of them; for the final "
            "pool, which has clean models of its own, all.",
        ),
        Said(metavar="N"),
    ] = None


class Seeded(ExperimentOptions):
    """Where seeds begin, and how many there are where a command has so many."""

    seed: Annotated[int, Field(ge=0, description="Seed of everything random.")] = 0

    @property
    def numbers(self) -> range:
        """The seeds of detectors, one after the other."""
        return range(self.seed, self.seed + int(getattr(self, "seeds", 1)))


class Chosen(Networked):
    """Which detector is tested beside the papers'."""

    choice: Annotated[
        Path | None,
        Field(
            description="Where the chosen detector stands; unless said, what `experiment detectors` wrote, from class "
            "means where there is that."
        ),
        Said(metavar="FILE.csv"),
    ] = None

    def chosen(self) -> Method:
        """The detector that was chosen; see `read_choice`."""
        return read_choice(self.choice, self.networks)

    def told(self) -> dict[str, Any]:
        """The usual place of the choice is not told."""
        told = super().told()
        if self.choice == usual_choice(self.networks):
            told.pop("choice", None)
        return told


class Pooled(Split, Signed, Prefixed):
    """A pool of viruses that detectors are tested on."""

    pool: Annotated[
        Pool,
        Field(
            description="Which viruses are the test. Opening the final pool is written down in results/openings.csv."
        ),
    ] = "development"

    @property
    def subject(self) -> str:
        """Networks, what their signatures start from, and the viruses."""
        return f"{self.networks}-{self.pool}"


class Tested(Seeded, Chosen, Pooled):
    """Detectors that are tested on a pool of viruses, with seeds of their own."""

    seeds: Seeds = 10
