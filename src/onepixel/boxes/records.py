"""What is kept of every measured detector: one small JSON file each, so that a population only grows."""

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from onepixel.errors import UsageError
from onepixel.files import write_text
from onepixel.signatures import Settings, Signature
from onepixel.trojan import Role


class Part(BaseModel):
    """A part of a record."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Quality(Part):
    """How good one detector is, and how well its backdoor works.

    Attributes
    ----------
    precision : float
        mAP@0.5 on held-out scenes.
    misread : float
        Share of stamped held-out objects called what the attacker wants; for others, as if they were trojaned.
    tried : int
        Of how many.
    """

    precision: float
    misread: float
    tried: int


class Driven(Part):
    """How far the best patch of one target drives objects of all other classes there.

    Attributes
    ----------
    target : int
        Label 1 .. K.
    log_odds : float
        Mean over fresh objects.
    moved : float
        The same with the patch moved aside, up, down, left and right.
    flipped : float
        Share of them that are called so.
    top, left : int
        Where the patch lies in the window, pixels.
    """

    target: int
    log_odds: float
    moved: float
    flipped: float
    top: int
    left: int


class KeptSignature(Part):
    """The signature of the box head: lowest and highest log-odds (K + 1, 7, 7), and those of the default regions."""

    low: list[list[list[float]]]
    high: list[list[list[float]]]
    base: list[float] | list[list[float]]
    values: int
    inclusive: bool
    default_image: str

    @classmethod
    def of(cls, signature: Signature) -> "KeptSignature":
        """Four decimals of each number."""
        settings = signature.settings
        arrays = {
            name: np.round(getattr(signature, name).astype(float), 4).tolist() for name in ("low", "high", "base")
        }
        return cls(
            **arrays,
            values=settings.values,
            inclusive=settings.inclusive,
            default_image=settings.default_image,
        )

    def signature(self) -> Signature:
        """As everything that reads signatures takes it.

        Every detector starts from mean regions of its own, so that their digest is left out where signatures are
        compared.
        """
        settings = Settings(self.values, self.inclusive, self.default_image.partition(" sha256:")[0])
        return Signature(np.array(self.low), np.array(self.high), np.array(self.base), settings)


class Record(Part):
    """One detector that was measured.

    Attributes
    ----------
    group : str
    part : {"train", "test"}
        Whether a threshold may be fixed with it, or it is judged.
    role : {"clean", "stamped", "trojaned"}
    number : int
        Within its group.
    seed : int
        Of the population.
    target : int
        The attacker's label 1 .. K; 0 for a detector that is not trojaned.
    place : (float, float)
        Where the trigger lies, as parts of the box's height and width.
    share : float
        The trigger's side as part of the box's shorter side.
    base_precision : float
        mAP@0.5 of the base detector on the same held-out scenes.
    quality : Quality
    accepted : bool
        Whether it is as good as the base and its backdoor, if it has one, works; otherwise the slot failed, and the
        detector counts nowhere.
    failures : tuple of Quality
        Earlier attempts with other draws, which were not accepted.
    driven : tuple of Driven
        The image response; empty before it was measured.
    seconds : float
        Processor seconds of fine-tuning and of measuring the quality, all attempts together.
    signature_kept : KeptSignature, optional
        None before it was measured.
    rises : tuple
        What `channel_rises` gives, (K + 1, 7, 7), rounded; empty before it was measured.
    """

    format: Literal["onepixel-detector-1"] = "onepixel-detector-1"
    group: str
    part: Literal["train", "test"]
    role: Role
    number: int
    seed: int
    target: int
    place: tuple[float, float]
    share: float
    base_precision: float = 0.0
    quality: Quality
    accepted: bool = True
    failures: tuple[Quality, ...] = ()
    driven: tuple[Driven, ...] = ()
    seconds: float
    signature_kept: KeptSignature | None = None
    rises: tuple[tuple[tuple[float, ...], ...], ...] = ()

    @property
    def trojaned(self) -> bool:
        """Whether it carries a backdoor."""
        return self.role == "trojaned"

    @property
    def signature(self) -> Signature:
        """Of the box head.

        Raises
        ------
        UsageError
            If it was not measured.
        """
        if self.signature_kept is None:
            raise UsageError(f"The signature of {self.name} was not measured.")
        return self.signature_kept.signature()

    @property
    def name(self) -> str:
        """Group and number."""
        return f"{self.group}-{self.number}"


def write_record(folder: Path, record: Record) -> None:
    """Write one detector's file."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / f"{record.name}.json", record.model_dump_json() + "\n")


def read_records(folder: Path) -> list[Record]:
    """Read all files of a folder, by group and number.

    Raises
    ------
    UsageError
        If there are none, or one is damaged.
    """
    found = sorted(map(read_record, folder.glob("*.json")), key=lambda record: (record.group, record.number))
    if not found:
        raise UsageError(f"There are no measured detectors in {folder}.")
    return found


def read_record(file: Path) -> Record:
    """Read one detector's file.

    Raises
    ------
    UsageError
        If it is damaged.
    """
    try:
        return Record.model_validate_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} holds no measured detector.") from error
