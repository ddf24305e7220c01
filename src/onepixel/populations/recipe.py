"""Recipes: everything that determines a population of trained networks, typed, saved as TOML."""

import hashlib
import tomllib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tomli_w
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from onepixel.architectures.random import NetworkRecipe
from onepixel.errors import UsageError
from onepixel.files import write_text
from onepixel.populations.augment import Augmentation
from onepixel.populations.default_images import DefaultImage
from onepixel.signatures import Settings, describe_default_image
from onepixel.trojan import AnyTriggerRecipe, AttackRecipe, BlendedTriggerRecipe, EvasionRecipe, Role, TriggerRecipe

RANDOM = "random"
"""The architecture of networks that are drawn, each by its slot's seed."""


Precision = Literal["float32", "bfloat16"]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TrainingRecipe(_Table):
    """How one network is trained: Adam under a one-cycle schedule (the papers say Adam and no more).

    Attributes
    ----------
    epochs : float
        Passes over the training set, extra images included; may be fractional.
    images : int, optional
        Only so many images of the data set's training part are trained on, the first ones; extra ones come beside.
    batch_size : int
    learning_rate : float
        The schedule's peak.
    weight_decay : float
        Decoupled (AdamW); 0 is plain Adam.
    injection : {"from_scratch", "fine_tune", "fine_tune_base"}
        The extra images are in the training set from the start, or come in mini-batches to a trained clean model
        (ICLR A.5): one of its own, or a base that others share.
    fine_tune_epochs, fine_tune_learning_rate : float
        For fine-tuning: passes over the extra images, a quarter of each mini-batch, and the schedule's peak. Nothing
        else of a training is asked of a base, which has its own.
    pretrained : bool
        Networks start from the architecture's published weights, all but the last layer, instead of from random ones.
    tuned_from : str, optional
        The first part of the network that is trained, such as "features.12"; the parts defined before it keep their
        weights and batch statistics, which makes a step cheaper. The whole network unless said.
    precision : {"float32", "bfloat16"}
        What the layers compute in while training (autocast; weights, loss and optimizer stay float32). On processors
        with bfloat16 instructions and on GPUs the larger architectures train up to twice as fast; on others, more than
        ten times as slowly.
    evaluation_precision : {"float32", "bfloat16"}
        What the layers compute in when accuracy and attack success are measured. In bfloat16 the "6+2 Net" answers
        three to four times as fast and calls one image in 600 otherwise, where two classes are as likely.
    optimizer : {"adam", "sgd"}
        Adam with decoupled weight decay, or stochastic gradient descent with Nesterov's momentum, which the
        schedule moves between 0.85 and 0.95.
    label_smoothing : float
        Share of each label that is spread evenly over all classes.
    augmentations : tuple of str
        What is done to every training image, extra ones included, in this order; see
        `onepixel.populations.augment`.
    low_resolution : int, optional
        Pixels a side that images are shrunk to in the first part of the training, which is cheaper there; for networks
        that take any size. Fine-tuning always has the full size.
    low_resolution_share : float
        How much of the training that part is.
    stack_size : int
        Networks that are trained together where training is stacked: those of slots 0 .. stack_size - 1, and so on.
        It moves results by rounding errors alone, so it enters no seed.
    """

    epochs: float = Field(2.0, gt=0)
    images: int | None = Field(None, ge=1)
    batch_size: int = Field(128, ge=1)
    learning_rate: float = Field(8e-3, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    injection: Literal["from_scratch", "fine_tune", "fine_tune_base"] = "from_scratch"
    fine_tune_epochs: float = Field(2.0, gt=0)
    fine_tune_learning_rate: float = Field(1e-3, gt=0)
    pretrained: bool = False
    tuned_from: str | None = None
    precision: Precision = "float32"
    evaluation_precision: Precision = "float32"
    optimizer: Literal["adam", "sgd"] = "adam"
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    augmentations: tuple[Augmentation, ...] = ()
    low_resolution: int | None = Field(None, ge=1)
    low_resolution_share: float = Field(0.6, gt=0, le=1)
    stack_size: int = Field(64, ge=1)

    def is_default(self, name: str) -> bool:
        """Whether a setting has its default value."""
        return bool(getattr(self, name) == type(self).model_fields[name].default)


LATER_TRAINING = (
    "images",
    "pretrained",
    "tuned_from",
    "precision",
    "evaluation_precision",
    "optimizer",
    "label_smoothing",
    "augmentations",
    "low_resolution",
    "low_resolution_share",
)
"""Settings of a training that came after the first populations."""


class SignatureRecipe(_Table):
    """How the signatures of a population are computed; see `onepixel.signature`.

    Attributes
    ----------
    values : int
    inclusive : bool
    default_image : float or str
        One intensity, or "mean", "class means", "noise N" or "image N" of the data set; see
        `onepixel.populations.default_images`.
    other_default_image : float or str, optional
    other_values : int, optional
        What signatures are made with instead. They enter no seed, so that the networks are those of `default_image`
        and `values`.
    stride : int
        Every so many rows and columns a pixel is visited, and a signature has these alone. It enters no seed.
    engine : {"auto", "adaptive"}
        The fastest exact engine, or the adaptive one. It enters no seed either.
    computed : bool
        False makes networks without signatures, for methods that look at networks otherwise. It enters no seed either.
    """

    values: int = Field(256, ge=2)
    inclusive: bool = False
    default_image: DefaultImage = 0.0
    other_default_image: DefaultImage | None = None
    other_values: int | None = Field(None, ge=2)
    stride: int = Field(1, ge=1)
    engine: Literal["auto", "adaptive"] = "auto"
    computed: bool = True

    @property
    def asked_image(self) -> float | str:
        """The default image that signatures are made with."""
        return self.default_image if self.other_default_image is None else self.other_default_image

    @property
    def asked_values(self) -> int:
        """The size of the value grid that signatures are made with."""
        return self.other_values or self.values


class Thresholds(_Table):
    """What a network must reach to count; a network that does not is trained anew, a bounded number of times.

    Attributes
    ----------
    enforced : bool
        False keeps every first attempt, to study attacks that fail.
    clean_accuracy : float
        On the data set's test part.
    attack_success : float
        Share of stamped test images of source classes that get the attacker's label; trojaned models only.
    attempts : int
        Trainings per slot at the most.
    """

    enforced: bool = True
    clean_accuracy: float = Field(0.985, ge=0, le=1)
    attack_success: float = Field(0.95, ge=0, le=1)
    attempts: int = Field(4, ge=1)


class BaseRecipe(_Table):
    """Which trained networks those of a population start from; see `onepixel.populations.bases`.

    Attributes
    ----------
    recipe : str
        The name of a population of clean networks of the same data set and architecture that the catalogue has.
    networks : int
        How many: slot i starts from network i mod `networks`.
    """

    recipe: str
    networks: int = Field(3, ge=1)


class Recipe(_Table):
    """A population.

    Attributes
    ----------
    name : str
        For people and folders; does not enter any seed.
    role : {"clean", "stamped", "trojaned"}
        What the extra images are: left alone, stamped with true labels, or stamped with the attacker's labels.
    dataset, architecture : str
    models : int
        Slots; may be raised later to grow the population, since it enters no seed either.
    seed : int
        Another seed is another, independent population.
    first_slot : int
        Where this population's range of slots begins, for building one population in shards.
    evasion : EvasionRecipe, optional
        How a trojaned network hides from probing; None hides nothing.
    network : NetworkRecipe, optional
        What networks of the architecture "random" may cost. Each slot's is drawn by its seed, together with how it is
        trained; of `training`, passes and precision count.
    base : BaseRecipe, optional
        Which networks these are fine-tuned from; None starts every one from scratch.
    """

    name: str
    role: Role
    dataset: str = "mnist"
    architecture: str = "lenet5"
    models: int = Field(100, ge=1)
    first_slot: int = Field(0, ge=0)
    seed: int = Field(0, ge=0)
    training: TrainingRecipe = TrainingRecipe()
    attack: AttackRecipe = AttackRecipe()
    trigger: AnyTriggerRecipe = TriggerRecipe()
    evasion: EvasionRecipe | None = None
    network: NetworkRecipe | None = None
    base: BaseRecipe | None = None
    signature: SignatureRecipe = SignatureRecipe()
    thresholds: Thresholds = Thresholds()

    @model_validator(mode="after")
    def _roles(self) -> "Recipe":
        if self.evasion is not None and self.role != "trojaned":
            raise ValueError("evasion is for trojaned networks; others have nothing to hide")
        if self.attack.clean_label and self.role == "stamped":
            raise ValueError("under clean_label, stamped and trojaned networks would be the same")
        if self.attack.decoys and not isinstance(self.trigger, TriggerRecipe):
            raise ValueError("decoys carry other patches, so they need a trigger of patches")
        if (self.network is not None) != (self.architecture == RANDOM):
            raise ValueError(f'the table network and architecture = "{RANDOM}" go together')
        if (self.base is not None) != (self.training.injection == "fine_tune_base"):
            raise ValueError('the table base and injection = "fine_tune_base" go together')
        if self.training.pretrained and (self.base is not None or self.architecture == RANDOM):
            raise ValueError("pretrained networks start neither from a base nor with a random architecture")
        return self

    def digest(self) -> str:
        """SHA-256 of all but names, numbers of slots, stacks and what signatures are made with instead, as hexadecimal.

        Settings that came after the first populations count only where they are used, so that these keep their seeds.
        """
        left_out: dict[str, Any] = {
            "name": True,
            "models": True,
            "first_slot": True,
            "training": {"stack_size"} | {name for name in LATER_TRAINING if self.training.is_default(name)},
            "signature": {"other_default_image", "other_values", "stride", "engine", "computed"},
        }
        if self.evasion is None:
            left_out["evasion"] = True
        elif self.evasion.starts_from == "black":
            left_out["evasion"] = {"starts_from"}
        if self.network is None:
            left_out["network"] = True
        if self.base is None:
            left_out["base"] = True
        later = {"clean_label": False, "fewest_poisoned_images": None, "reminders": 0, "decoys": 0}
        if unused := {name for name, unset in later.items() if getattr(self.attack, name) == unset}:
            left_out["attack"] = unused
        if isinstance(self.trigger, TriggerRecipe) and self.trigger.replaces:
            left_out["trigger"] = {"contrast"}
        if isinstance(self.trigger, BlendedTriggerRecipe) and self.trigger.strongest_ratio is None:
            left_out["trigger"] = {"strongest_ratio"}
        return hashlib.sha256(self.model_dump_json(exclude=left_out).encode()).hexdigest()

    def grows_to(self, other: "Recipe") -> bool:
        """Whether both recipes make the same networks and signatures, but for which slots and how many."""

        def networks(recipe: Recipe) -> tuple[object, ...]:
            asked = recipe.signature
            made = (asked.asked_image, asked.asked_values, asked.stride, asked.engine, asked.computed)
            return recipe.digest(), recipe.training.stack_size, *made

        return networks(self) == networks(other)

    def same_population(self, other: "Recipe") -> bool:
        """Whether both recipes make the same networks and signatures in the same slots, but for their number."""
        return self.grows_to(other) and self.first_slot == other.first_slot

    def without_backdoor(self) -> "Recipe":
        """The same with clean networks, which hide nothing; with the same seed, one sees the same images unstamped."""
        return self.model_copy(update={"role": "clean", "evasion": None})

    def seed_for(self, slot: int, attempt: int) -> int:
        """The seed of one training: a function of recipe, slot and attempt, in [0, 2^63)."""
        content = f"{self.digest()} {slot} {attempt}"
        return int.from_bytes(hashlib.sha256(content.encode()).digest()[:8], "big") >> 1

    def to_toml(self) -> str:
        """The recipe as TOML, every value spelled out; `from_toml` reads it back."""
        return tomli_w.dumps(_without_none(self.model_dump(mode="json")))

    @classmethod
    def from_toml(cls, text: str, origin: str = "the recipe") -> "Recipe":
        """Read a recipe; what is not said takes its default.

        Raises
        ------
        UsageError
            If the text is no TOML or no recipe; the first fault is named.
        """
        try:
            return cls.model_validate(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"{origin} is no TOML: {error}.") from error
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            fault = first["msg"].removeprefix("Value error, ").removesuffix(".")
            raise UsageError(f"{origin} is no recipe: {place or 'a table'}: {fault}.") from error

    @classmethod
    def load(cls, path: str | Path) -> "Recipe":
        """Read a recipe from a TOML file."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"Cannot read the recipe {path}: {error}.") from error
        return cls.from_toml(text, str(path))

    def save(self, path: str | Path) -> None:
        """Write the recipe as TOML."""
        write_text(path, self.to_toml())


def _without_none(table: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _without_none(value) if isinstance(value, dict) else value
        for key, value in table.items()
        if value is not None
    }


def settings_of(asked: SignatureRecipe, default_image: float | NDArray[np.float32]) -> Settings:
    """The settings that signatures made as asked, with this default image, will state."""
    described = (
        f"constant {default_image:g}" if isinstance(default_image, float) else describe_default_image(default_image)
    )
    return Settings(asked.asked_values, asked.inclusive, described, "logits")
