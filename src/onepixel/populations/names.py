"""Populations' names as data: which networks, from which pool, and what their signatures start from."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from onepixel.errors import UsageError

if TYPE_CHECKING:
    from onepixel.populations.recipe import Recipe


@dataclass(frozen=True)
class Start:
    """What signatures start from.

    Attributes
    ----------
    image : str
        The default image, as `population resign` is told.
    values : int
        Intensities per pixel: ten default images on 32 cost what one costs on 256.
    coarser : bool
        Whether the same image is also there on more intensities.
    """

    image: str
    values: int = 256
    coarser: bool = False

    def __str__(self) -> str:
        return f"{self.image}, {self.values} values" if self.coarser else self.image

    @classmethod
    def called(cls, words: str) -> "Start":
        """The start of these words, such as "class means".

        Raises
        ------
        UsageError
            If there is none.
        """
        for start in STARTS.values():
            if str(start) == words:
                return start
        known = ", ".join(map(str, STARTS.values()))
        raise UsageError(f"Expected one of {known} for the default image but got {words!r}.")


STARTS = {
    "": Start("black"),
    "-class-means": Start("class means", 32),
    "-class-means-8": Start("class means", 8, coarser=True),
    "-white": Start("white"),
    "-mean": Start("mean"),
    "-noise-0": Start("noise 0", 32),
    "-image-0": Start("image 0"),
}
"""Every start by the end of a population's name."""

BLACK, CLASS_MEANS = STARTS[""], STARTS["-class-means"]
MAIN = (BLACK, CLASS_MEANS)
"""The starts for which detectors are chosen, and from which everything is looked at: the papers', and ours."""

NAMED_ALIKE = ("-attack-expects-class-means",)
"""Populations whose names end as if they had been signed again, and were not."""

TUNED = "tuned"
"""What follows the architecture in names of networks that were fine-tuned from bases: a family of their own."""

CHOSEN_ON = "mnist-lenet5"
"""The networks whose choice of a detector holds for others that are too few, or too dear, for one of their own."""

POOLS = ("development", "final")


@dataclass(frozen=True)
class PopulationName:
    """A population's name.

    Attributes
    ----------
    dataset, family : str
        The data set, and the architecture or what the networks were trained for ("table5"), as names say them.
    kind : str
        Role and attack: "clean", "vaccine", "virus", "virus-garments", "stamped-virus", "attack-warped", ...
    pool : str
        "development", "final", or "" where the kind has one pool.
    start : Start
        What signatures start from, and on how many intensities.
    """

    dataset: str
    family: str
    kind: str
    pool: str = ""
    start: Start = STARTS[""]

    @classmethod
    def parse(cls, name: str) -> "PopulationName":
        """Read a name; `str` writes it again."""
        ends = [end for end in STARTS if end and name.endswith(end) and not name.endswith(NAMED_ALIKE)]
        ending = max(ends, key=len, default="")
        dataset, _, rest = name.removesuffix(ending).partition("-")
        family, _, kind = rest.partition("-")
        if kind == TUNED or kind.startswith(f"{TUNED}-"):
            family, kind = f"{family}-{TUNED}", kind.removeprefix(TUNED).removeprefix("-")
        pool = next((pool for pool in POOLS if kind.endswith(f"-{pool}")), "")
        return cls(dataset, family, kind.removesuffix(f"-{pool}") if pool else kind, pool, STARTS[ending])

    def of(self, kind: str) -> "PopulationName":
        """Another population of the same data set and family, signed alike; its kind ends with its pool, if any."""
        found = PopulationName.parse("-".join(part for part in (self.dataset, self.family, kind) if part))
        return replace(found, start=self.start)

    @property
    def networks(self) -> str:
        """The name of the same networks with signatures from black, under which their weights are kept."""
        return "-".join(part for part in (self.dataset, self.family, self.kind, self.pool) if part)

    @property
    def tuned(self) -> bool:
        """Whether the networks were fine-tuned from bases."""
        return self.family.endswith(f"-{TUNED}")

    @property
    def chooser(self) -> str:
        """The networks on which the detector of these is chosen: their own, for fine-tuned ones those on MNIST."""
        return CHOSEN_ON if self.tuned else self.networks

    @property
    def ending(self) -> str:
        """The end of the name, which says the start."""
        return next(ending for ending, start in STARTS.items() if start == self.start)

    def __str__(self) -> str:
        return self.networks + self.ending

    def folder(self, zoo: Path) -> Path:
        """Where a zoo has it."""
        return zoo / str(self)

    def signed(self, recipe: "Recipe") -> "Recipe":
        """The recipe of the same networks, signed from this start."""
        values = None if self.start.values == recipe.signature.values else self.start.values
        asked = {**recipe.signature.model_dump(), "other_default_image": self.start.image, "other_values": values}
        return recipe.model_copy(update={"name": str(self), "signature": type(recipe.signature).model_validate(asked)})

    def commands(self, zoo: Path) -> tuple[str, ...]:
        """What makes it: signing networks again from another start, or else training them."""
        store = f"populations/{self.networks}"
        if self.ending:
            grid = f" --values {self.start.values}" if self.start.values != 256 else ""
            called = f" --name {self}" if self.start.coarser else ""
            return (
                f'onepixel population resign {store} --default-image "{self.start.image}"{grid}{called} --zoo {zoo}',
            )
        build = f"onepixel population build {self.networks} --store {store}"
        return build, f"onepixel population export {store} --zoo {zoo}"
