"""Options that several experiments share, as bases of their options classes.

Fields of bases that stand last come first, on the command line too.
"""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator

from onepixel.experiments.choices import usual_choice
from onepixel.experiments.declared import ExperimentOptions, Said
from onepixel.experiments.models import ending_of
from onepixel.trojan import Pool

DefaultImage = Annotated[
    str,
    Field(description="The populations that were signed from black, class means, mean, ..."),
    Said(metavar="IMAGE", when_changed=True),
]
Seeds = Annotated[int, Field(ge=1, description="How many detector seeds.")]


class Prefixed(ExperimentOptions):
    """Which networks."""

    prefix: Annotated[str, Field(description="Data set and architecture, as population names begin.")] = "mnist-lenet5"

    @property
    def subject(self) -> str:
        """Networks, and what their signatures start from."""
        return self.prefix


class Signed(ExperimentOptions):
    """What signatures start from."""

    default_image: DefaultImage = "black"

    @field_validator("default_image")
    @classmethod
    def _known(cls, image: str) -> str:
        ending_of(image)
        return image

    @property
    def ending(self) -> str:
        """How names of populations end."""
        return ending_of(self.default_image)

    @property
    def subject(self) -> str:
        """Networks, and what their signatures start from."""
        return super().subject + self.ending


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


class Chosen(ExperimentOptions):
    """Which detector is tested beside the papers'."""

    choice: Annotated[
        Path | None,
        Field(
            description="Where the chosen detector stands; unless said, what `experiment detectors` wrote, from class "
            "means where there is that."
        ),
        Said(metavar="FILE.csv"),
    ] = None

    @property
    def choice_prefix(self) -> str:
        """The networks that the detector was chosen on."""
        return str(getattr(self, "prefix", ""))

    def told(self) -> dict[str, Any]:
        """The usual place of the choice is not told."""
        told = super().told()
        if self.choice == usual_choice(self.choice_prefix):
            told.pop("choice", None)
        return told


class Seeded(ExperimentOptions):
    """Where seeds begin."""

    seed: Annotated[int, Field(ge=0, description="Seed of everything random.")] = 0


class Tested(Seeded, Chosen, Split, Signed, Prefixed):
    """Detectors that are tested on a pool of viruses."""

    seeds: Seeds = 10
    pool: Annotated[
        Pool,
        Field(
            description="Which viruses are the test. Opening the final pool is written down in results/openings.csv."
        ),
    ] = "development"

    @property
    def detector_seeds(self) -> range:
        """One after the other."""
        return range(self.seed, self.seed + self.seeds)
