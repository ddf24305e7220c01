"""Models of a zoo as experiments use them: by kind, split into training and test, never both."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onepixel.errors import UsageError
from onepixel.populations import Record, open_population, passed
from onepixel.populations.names import STARTS, PopulationName
from onepixel.signatures import Settings
from onepixel.trojan import Pool

SIGNED = {ending: str(start) for ending, start in STARTS.items()}
"""The words for every start, by the end of a population's name."""

IMAGES = {ending: words for ending, words in SIGNED.items() if not STARTS[ending].coarser}
"""The same, each default image once."""

MAIN = ("", "-class-means")
"""The starts for which detectors are chosen, and from which everything is looked at: the papers', and ours."""


@dataclass(frozen=True)
class Models:
    """Signatures and records of one kind of models, in slot order."""

    rows: NDArray[np.void]
    records: list[Record]

    def __len__(self) -> int:
        return len(self.records)

    def part(self, start: int, stop: int | None = None) -> "Models":
        """Some of them."""
        return Models(self.rows[start:stop], self.records[start:stop])

    def chosen(self, numbers: NDArray[np.integer]) -> "Models":
        """Those with these numbers."""
        return Models(self.rows[numbers], [self.records[number] for number in numbers])

    @classmethod
    def joined(cls, *parts: "Models") -> "Models":
        """Several kinds together."""
        return cls(np.concatenate([part.rows for part in parts]), [r for part in parts for r in part.records])


@dataclass(frozen=True)
class Labelled:
    """Models to train or to test on, 0 without and 1 with a backdoor."""

    models: Models
    labels: NDArray[np.int64]

    @property
    def rows(self) -> NDArray[np.void]:
        """Their signatures."""
        return self.models.rows


def labelled(negative: Models, positive: Models) -> Labelled:
    """Join models without (0) and with a backdoor (1)."""
    labels = np.r_[np.zeros(len(negative), np.int64), np.ones(len(positive), np.int64)]
    return Labelled(Models.joined(negative, positive), labels)


def has(zoo: Path, name: str) -> bool:
    """Whether a zoo has this population."""
    return (zoo / name / "recipe.toml").is_file()


def missing(zoo: Path, names: list[str]) -> str:
    """One sentence that says what is missing and which commands make it; empty if nothing is."""
    absent = [name for name in names if not has(zoo, name)]
    commands = " && ".join(command for name in absent for command in commands_for(zoo, name))
    return f"{zoo} has no {', '.join(absent)}; make it with: {commands}" if absent else ""


def commands_for(zoo: Path, name: str) -> tuple[str, ...]:
    """What makes a population: signing networks again under another default image, or else training them."""
    return PopulationName.parse(name).commands(zoo)


def require(zoo: Path, names: list[str]) -> None:
    """Make sure that a zoo has these populations.

    Raises
    ------
    UsageError
        If one is missing; it says which, and how to make it.
    """
    sentence = missing(zoo, names)
    if sentence:
        raise UsageError(sentence)


def load_models(zoo: Path, name: str, settings: Settings | None = None) -> tuple[Models, Settings]:
    """Read a population's models that passed, and what their signatures were made with.

    Raises
    ------
    UsageError
        If there is no such population, none of its models passed, or they were made with other settings than these.
    """
    require(zoo, [name])
    population = open_population(zoo / name)
    if settings is not None and population.settings != settings:
        raise UsageError(f"{name} was signed with {population.settings}, and the models beside it with {settings}.")
    models = Models(*passed(population))
    if not len(models):
        raise UsageError(f"No model of {zoo / name} reached its thresholds.")
    return models, population.settings


def load_if_there(zoo: Path, name: str, settings: Settings) -> Models | None:
    """Read a population's models that passed, or None if the zoo has no such population; see `load_models`."""
    return load_models(zoo, name, settings)[0] if has(zoo, name) else None


@dataclass(frozen=True)
class Training:
    """The vaccine side: all that a detector, its threshold and its hyperparameters may come from.

    Attributes
    ----------
    clean, vaccine : Models
    stamped : Models or None
        Trained on images stamped with vaccine patterns, with their true labels; no backdoor.
    spare : Models
        Clean models that were held back from training, for a test.
    settings : Settings
    """

    clean: Models
    vaccine: Models
    stamped: Models | None
    spare: Models
    settings: Settings

    def labelled(self, *, with_stamped: bool) -> Labelled:
        """What a detector is fitted to; clean models first, then vaccine, then, if wanted, stamped ones."""
        pairs = labelled(self.clean, self.vaccine)
        if not with_stamped or self.stamped is None:
            return pairs
        labels = np.r_[pairs.labels, np.zeros(len(self.stamped), np.int64)]
        return Labelled(Models.joined(pairs.models, self.stamped), labels)

    def __str__(self) -> str:
        stamped = f" and {len(self.stamped)} stamped" if self.stamped is not None else ""
        return f"{len(self.clean)} clean, {len(self.vaccine)} vaccine{stamped} models"


def load_training(zoo: Path, prefix: str, clean: int | None = None, ending: str = "") -> Training:
    """Read `prefix`-clean, -vaccine and, where there is one, -stamped-vaccine.

    Parameters
    ----------
    zoo : Path
    prefix : str
        What population names begin with: data set and architecture.
    clean : int, optional
        How many clean models train, from the first slot on; half of them unless said.
    ending : str
        What population names end with, such as "-white" where signatures start from white.

    Raises
    ------
    UsageError
        If a population is missing or too small, or two were signed with different settings.
    """
    require(zoo, [f"{prefix}-clean{ending}", f"{prefix}-vaccine{ending}"])
    everything, settings = load_models(zoo, f"{prefix}-clean{ending}")
    count = len(everything) // 2 if clean is None else clean
    if not 2 <= count <= len(everything):
        raise UsageError(f"Of the {len(everything)} models of {prefix}-clean{ending}, {count} cannot be trained on.")
    return Training(
        clean=everything.part(0, count),
        vaccine=load_models(zoo, f"{prefix}-vaccine{ending}", settings)[0],
        stamped=load_if_there(zoo, f"{prefix}-stamped-vaccine{ending}", settings),
        spare=everything.part(count),
        settings=settings,
    )


def training_names(prefix: str, ending: str = "") -> list[str]:
    """Populations without which there is no training."""
    return [f"{prefix}-{kind}{ending}" for kind in ("clean", "vaccine")]


def ending_of(image: str) -> str:
    """How names of populations end that were signed under a default image of this name.

    Raises
    ------
    UsageError
        If no experiment knows it.
    """
    for ending, name in SIGNED.items():
        if name == image:
            return ending
    raise UsageError(f"Expected one of {', '.join(SIGNED.values())} for the default image but got {image!r}.")


@dataclass(frozen=True)
class Unseen:
    """The test side.

    Attributes
    ----------
    clean, virus : Models
    stamped : Models or None
        Trained on images stamped with virus patterns, with their true labels.
    stamped_all_classes : Models or None
        Trained on stamped images of every class, with their true labels, so that a pattern stands for no class.
    """

    clean: Models
    virus: Models
    stamped: Models | None = None
    stamped_all_classes: Models | None = None

    def labelled(self) -> Labelled:
        """Clean (0) and virus models (1)."""
        return labelled(self.clean, self.virus)


def named_pool(pool: Pool, triggers: str | None = None) -> str:
    """What a table is called that tests the viruses of a pool, or those of it with triggers of their own name."""
    return f"{triggers}-{pool}" if triggers else pool


def names_of_test(prefix: str, pool: Pool, ending: str = "", triggers: str | None = None) -> list[str]:
    """Populations without which there is no test; the first one's are the viruses."""
    viruses = f"{prefix}-virus-{named_pool(pool, triggers)}{ending}"
    return [viruses, *([f"{prefix}-clean-final{ending}"] if pool == "final" else [])]


def load_unseen(
    zoo: Path, prefix: str, pool: Pool, training: Training, ending: str = "", triggers: str | None = None
) -> Unseen:
    """Read `prefix`-virus-`pool`, stamped models where there are any, and clean models that did not train.

    Those are, for the development pool, the clean models that were held back from training; for the final pool a
    population of their own, `prefix`-clean-final. Write the opening of the final pool down first: `record_opening`.
    Names end with `ending`, as for `load_training`; `triggers`, such as "garments", stands before the pool where the
    viruses' patterns are of another kind than usual.

    Raises
    ------
    UsageError
        If a population is missing, or no clean model was held back.
    """
    names = names_of_test(prefix, pool, ending, triggers)
    require(zoo, names)
    clean = (
        training.spare
        if pool == "development"
        else load_models(zoo, f"{prefix}-clean-final{ending}", training.settings)[0]
    )
    if not len(clean):
        raise UsageError(
            f"All models of {prefix}-clean{ending} are trained on and none is left to test; train on fewer."
        )
    return Unseen(
        clean=clean,
        virus=load_models(zoo, names[0], training.settings)[0],
        stamped=load_if_there(zoo, names[0].replace("-virus-", "-stamped-virus-", 1), training.settings),
        stamped_all_classes=load_if_there(zoo, f"{prefix}-stamped-all-classes{ending}", training.settings),
    )
