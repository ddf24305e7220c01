"""The two sides of an experiment: models that detectors may be trained on, and models that test them, never both."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from onepixel.errors import UsageError
from onepixel.populations.models import Labelled, Models, load_if_there, load_models, require
from onepixel.populations.names import PopulationName
from onepixel.signatures import Settings
from onepixel.trojan import Pool


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
        stamped = [(self.stamped, 0)] if with_stamped and self.stamped is not None else []
        return Labelled.of((self.clean, 0), (self.vaccine, 1), *stamped)

    def drawn(self, pairs: int, seed: int) -> "Training":
        """So many clean and so many vaccine models, drawn without replacement, and no stamped ones."""
        rng = np.random.default_rng([seed, pairs])
        clean, vaccine = (
            kind.chosen(rng.choice(len(kind), pairs, replace=False)) for kind in (self.clean, self.vaccine)
        )
        return replace(self, clean=clean, vaccine=vaccine, stamped=None)

    def __str__(self) -> str:
        stamped = f" and {len(self.stamped)} stamped" if self.stamped is not None else ""
        return f"{len(self.clean)} clean, {len(self.vaccine)} vaccine{stamped} models"


def training_names(networks: PopulationName) -> list[PopulationName]:
    """Populations without which there is no training."""
    return [networks.of(kind) for kind in ("clean", "vaccine")]


def load_training(zoo: Path, networks: PopulationName, clean: int | None = None) -> Training:
    """Read clean, vaccine and, where there are any, vaccine-stamped models.

    Parameters
    ----------
    zoo : Path
    networks : PopulationName
        Data set, architecture and start; of any kind.
    clean : int, optional
        How many clean models train, from the first slot on; half of them unless said.

    Raises
    ------
    UsageError
        If a population is missing or too small, or two were signed with different settings.
    """
    require(zoo, training_names(networks))
    everything, settings = load_models(zoo, networks.of("clean"))
    count = len(everything) // 2 if clean is None else clean
    if not 2 <= count <= len(everything):
        raise UsageError(f"Of the {len(everything)} models of {networks.of('clean')}, {count} cannot be trained on.")
    return Training(
        clean=everything.part(0, count),
        vaccine=load_models(zoo, networks.of("vaccine"), settings)[0],
        stamped=load_if_there(zoo, networks.of("stamped-vaccine"), settings),
        spare=everything.part(count),
        settings=settings,
    )


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

    def by_name(self) -> dict[str, Models]:
        """All that there are, as `Judged` names their scores."""
        stamped = {"stamped_virus": self.stamped, "stamped_all_classes": self.stamped_all_classes}
        there = {name: models for name, models in stamped.items() if models is not None}
        return {"clean": self.clean, "virus": self.virus, **there}


def named_pool(pool: Pool, triggers: str | None = None) -> str:
    """What a table is called that tests the viruses of a pool, or those of it with triggers of their own name."""
    return f"{triggers}-{pool}" if triggers else pool


def names_of_test(networks: PopulationName, pool: Pool, triggers: str | None = None) -> list[PopulationName]:
    """Populations without which there is no test; the first one's are the viruses."""
    viruses = networks.of(f"virus-{named_pool(pool, triggers)}")
    return [viruses, networks.of("clean-final")] if pool == "final" else [viruses]


def load_unseen(
    zoo: Path, networks: PopulationName, pool: Pool, training: Training, triggers: str | None = None
) -> Unseen:
    """Read the viruses of a pool, stamped models where there are any, and clean models that did not train.

    Those are, for the development pool, the clean models that were held back from training; for the final pool a
    population of their own. Write the opening of the final pool down first: `record_opening`. `triggers`, such as
    "garments", stands before the pool where the viruses' patterns are of another kind than usual.

    Raises
    ------
    UsageError
        If a population is missing, or no clean model was held back.
    """
    names, settings = names_of_test(networks, pool, triggers), training.settings
    require(zoo, names)
    clean = training.spare if pool == "development" else load_models(zoo, names[1], settings)[0]
    if not len(clean):
        raise UsageError(
            f"All models of {networks.of('clean')} are trained on and none is left to test; train on fewer."
        )
    # Of the final pool's own, where it has any.
    kinds = ["stamped-all-final", "stamped-all-classes"] if pool == "final" else ["stamped-all-classes"]
    every_class = [load_if_there(zoo, networks.of(kind), settings) for kind in kinds]
    return Unseen(
        clean=clean,
        virus=load_models(zoo, names[0], settings)[0],
        stamped=load_if_there(zoo, networks.of(f"stamped-virus-{named_pool(pool, triggers)}"), settings),
        stamped_all_classes=next((models for models in every_class if models is not None), None),
    )
