"""A population of detectors, all fine-tuned from one base: clean and stamped ones, vaccine and virus trojans.

Each detector is measured once and becomes a record and a signature; experiments read those, not the networks.
"""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors.numpy import load_file, save
from torch import Tensor
from torchvision.models.detection import FasterRCNN

from onepixel.boxes.attack import BoxAttack, BoxAttackRecipe, poisoned
from onepixel.boxes.fine_tuning import Bank, HeadRecipe, bank_of, fine_tuned
from onepixel.boxes.made_scenes import made_scenes
from onepixel.boxes.measures import Pooled, mean_average_precision, pool, share_misread
from onepixel.boxes.objects import ObjectClassifier, object_windows, window_side
from onepixel.boxes.probing import Objects, Probed, probe, recognised, seen_features
from onepixel.boxes.regions import RegionClassifier, RegionRange, measure_regions, region_signature
from onepixel.boxes.scene import Scene
from onepixel.boxes.training import BaseRecipe
from onepixel.errors import UsageError
from onepixel.files import atomic_path, write_text
from onepixel.signatures import Signature
from onepixel.trojan import Role

ANYWHERE = ((0.25, 0.75), (0.25, 0.75))
"""Places of triggers that are not the paper's harpoon."""

VACCINE = BoxAttackRecipe(picture="random", place=ANYWHERE)
HARPOON_VIRUS = BoxAttackRecipe()
SHRUNKEN_VIRUS = BoxAttackRecipe(picture="fashion_mnist", place=ANYWHERE)


@dataclass(frozen=True)
class Group:
    """Detectors of a population that are made alike.

    Attributes
    ----------
    name : str
    part : {"train", "test"}
        Whether a threshold may be fixed with them, or they are judged.
    role : {"clean", "stamped", "trojaned"}
    attack : BoxAttackRecipe
    count : int
    """

    name: str
    part: str
    role: Role
    attack: BoxAttackRecipe
    count: int


GROUPS = (
    Group("clean-train", "train", "clean", VACCINE, 10),
    Group("vaccine", "train", "trojaned", VACCINE, 10),
    Group("clean-test", "test", "clean", HARPOON_VIRUS, 15),
    Group("harpoon", "test", "trojaned", HARPOON_VIRUS, 8),
    Group("shrunken", "test", "trojaned", SHRUNKEN_VIRUS, 7),
    Group("stamped", "test", "stamped", HARPOON_VIRUS, 6),
)
"""The population that is published. Clean ones are made with an attack too, which draws the same scenes."""


class PopulationRecipe(BaseModel):
    """What detectors are fine-tuned and measured with.

    Attributes
    ----------
    base : BaseRecipe
    head : HeadRecipe
    scenes : int
        Clean scenes of each detector, drawn from `pool`.
    pool : int
        Scenes that all draw from.
    poison : int
        Scenes that are poisoned in trojaned detectors; the others get the same ones as they are.
    held_out : int
        Scenes with objects of the data set's test part, which mAP and misreading are measured on.
    values : int
        V, the size of the value grid of the signatures.
    seed : int
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: BaseRecipe = BaseRecipe()
    head: HeadRecipe = HeadRecipe()
    scenes: int = Field(160, ge=1)
    pool: int = Field(400, ge=1)
    poison: int = Field(80, ge=1)
    held_out: int = Field(80, ge=1)
    values: int = Field(16, ge=2)
    seed: int = 0


@dataclass(frozen=True)
class Record:
    """One detector that was measured.

    Attributes
    ----------
    group, part, role : str
    number : int
        Within its group.
    target : int
        The attacker's label 1 .. K; 0 for a detector that is not trojaned.
    place : (float, float)
        Where the trigger lies, as parts of the box's height and width.
    precision : float
        mAP@0.5 on held-out scenes.
    misread : float
        Share of stamped held-out objects called what the attacker wants; for the others, as if they were trojaned.
    tried : int
        Of how many.
    probed : dict
        The image response: per target the mean probability before and after and the share driven, and the place.
    signature : Signature
        Of the box head.
    """

    group: str
    part: str
    role: str
    number: int
    target: int
    place: tuple[float, float]
    precision: float
    misread: float
    tried: int
    probed: dict[str, Any]
    signature: Signature = field(repr=False)

    @property
    def trojaned(self) -> bool:
        """Whether it carries a backdoor."""
        return self.role == "trojaned"

    @property
    def response_score(self) -> float:
        """The score of the image response: how far the probability of the suspected target rises."""
        return float(np.max(np.array(self.probed["after"]) - np.array(self.probed["before"])))

    @property
    def suspect(self) -> int:
        """The label that the image response suspects."""
        rises = np.array(self.probed["after"]) - np.array(self.probed["before"])
        return int(self.probed["targets"][int(rises.argmax())])


@dataclass(frozen=True)
class Workshop:
    """What all detectors of a population share, computed once.

    Attributes
    ----------
    recipe : PopulationRecipe
    base : FasterRCNN
    scenes : list of Scene
        The pool that training scenes are drawn from.
    bank : Bank
        Their regions.
    owner : Tensor of shape (R,)
        Which scene of the pool each region is of.
    held_out : list of Scene
    pooled : Pooled
        The same behind RoI pooling.
    regions : RegionRange
    objects : Objects
    features : Tensor
        What `seen_features` gives.
    """

    recipe: PopulationRecipe
    base: FasterRCNN
    scenes: list[Scene]
    bank: Bank
    owner: Tensor
    held_out: list[Scene]
    pooled: Pooled
    regions: RegionRange
    objects: Objects
    features: Tensor

    @classmethod
    def open(cls, recipe: PopulationRecipe, base: FasterRCNN) -> "Workshop":
        """Compute what is shared."""
        made = recipe.base.scenes
        scenes = made_scenes(made, recipe.pool, recipe.base.seed)
        banks = [bank_of(base, [scene], number) for number, scene in enumerate(scenes)]
        owner = torch.cat([torch.full((len(one.labels),), number) for number, one in enumerate(banks)])
        bank = Bank(*(torch.cat([getattr(one, name) for one in banks]) for name in ("features", "labels", "offsets")))
        held_out = made_scenes(made, recipe.held_out, recipe.base.seed + 1, "final")
        classifier = ObjectClassifier(base)
        windows, labels = object_windows(made_scenes(made, 60, recipe.base.seed + 2, "final"), window_side(base))
        objects = Objects.divided(*recognised(classifier, windows, labels))
        regions = measure_regions(base, scenes[:60])
        features = seen_features(classifier, objects)
        return cls(recipe, base, scenes, bank, owner, held_out, pool(base, held_out), regions, objects, features)

    def detector(self, group: Group, number: int) -> tuple[FasterRCNN, BoxAttack]:
        """Fine-tune one detector. The same group and number give the same, and roles differ in the poison alone."""
        names = [one.name for one in GROUPS]
        place = names.index(group.name) if group.name in names else len(names)
        seed = [self.recipe.seed, place, number]
        rng = np.random.default_rng(seed)
        attack = group.attack.draw(len(self.recipe.base.scenes.classes), rng)
        chosen = rng.choice(len(self.scenes), self.recipe.scenes, replace=False)
        extra = poisoned([self.scenes[n] for n in chosen], group.role, attack, self.recipe.poison, rng)
        mine = torch.isin(self.owner, torch.as_tensor(chosen))
        drawn = int(rng.integers(2**31))
        bank = self.bank.part(mine.nonzero()[:, 0]).joined(bank_of(self.base, extra, drawn))
        return fine_tuned(self.base, bank, self.recipe.head, drawn), attack

    def measured(self, group: Group, number: int) -> tuple[Record, FasterRCNN]:
        """Fine-tune one detector and measure it."""
        detector, attack = self.detector(group, number)
        classes = len(self.recipe.base.scenes.classes)
        precision = mean_average_precision(self.held_out, self.pooled.detections(detector), classes)
        hits, tried = share_misread(detector, self.held_out, attack)
        probed = probe(ObjectClassifier(detector), self.objects, features=self.features)
        signature = region_signature(
            RegionClassifier(detector, self.regions, name=f"{group.name} {number}"),
            values=self.recipe.values,
            every_class=True,
        )
        wanted = next(to for source, to in enumerate(attack.attack.target_of) if source != to) + 1
        return Record(
            group=group.name,
            part=group.part,
            role=group.role,
            number=number,
            target=wanted if group.role == "trojaned" else 0,
            place=attack.place,
            precision=precision,
            misread=hits / tried,
            tried=tried,
            probed=probed_as_dict(probed),
            signature=signature,
        ), detector


def probed_as_dict(probed: Probed) -> dict[str, Any]:
    """An image response in JSON types."""
    return {
        "targets": list(probed.targets),
        "before": [round(one, 4) for one in probed.before],
        "after": [round(one, 4) for one in probed.after],
        "driven": [round(one, 4) for one in probed.driven],
        "places": [[one.top, one.left] for one in probed.candidates],
        "fillings": [one.filling for one in probed.candidates],
        "queries": probed.queries,
    }


HEAD = ("group", "part", "role", "number", "target", "row", "column", "precision", "misread", "tried", "probed")
SIGNATURES = "signatures.safetensors"
TABLE = "detectors.csv"


def write_records(folder: Path, records: Sequence[Record]) -> None:
    """Write a table of detectors, and beside it their signatures in one file."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(HEAD)
    for one in records:
        numbers = [f"{value:.4f}" for value in (*one.place, one.precision, one.misread)]
        probed = json.dumps(one.probed, separators=(",", ":"))
        table.writerow([one.group, one.part, one.role, one.number, one.target, *numbers, one.tried, probed])
    signatures = [one.signature for one in records]
    arrays = {name: np.stack([getattr(one, name) for one in signatures]) for name in ("low", "high", "base")}
    halved = {name: np.asarray(array, dtype=np.float32) for name, array in arrays.items()}
    settings = signatures[0].settings
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / SIGNATURES) as temporary:
        temporary.write_bytes(save(halved, {"settings": json.dumps(vars(settings))}))
    write_text(folder / TABLE, text.getvalue())


def read_records(folder: Path) -> list[Record]:
    """Read what `write_records` wrote.

    Raises
    ------
    UsageError
        If there is nothing, or table and signatures do not belong together.
    """
    from safetensors import safe_open

    from onepixel.signatures import Settings

    table, arrays_at = folder / TABLE, folder / SIGNATURES
    if not table.is_file() or not arrays_at.is_file():
        raise UsageError(f"There are no measured detectors in {folder}.")
    arrays = load_file(arrays_at)
    with safe_open(arrays_at, framework="numpy") as file:
        settings = Settings(**json.loads(file.metadata()["settings"]))
    with table.open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    if len(rows) != len(arrays["base"]):
        raise UsageError(f"{folder}: {len(rows)} detectors do not go with {len(arrays['base'])} signatures.")
    return [
        Record(
            row["group"],
            row["part"],
            row["role"],
            int(row["number"]),
            int(row["target"]),
            (float(row["row"]), float(row["column"])),
            float(row["precision"]),
            float(row["misread"]),
            int(row["tried"]),
            json.loads(row["probed"]),
            Signature(arrays["low"][place], arrays["high"][place], arrays["base"][place], settings),
        )
        for place, row in enumerate(rows)
    ]


def built(
    workshop: Workshop, groups: Sequence[Group], known: Sequence[Record] = ()
) -> Iterator[tuple[Record, FasterRCNN | None]]:
    """Yield the records of all groups, in turns, so that a build that is stopped has some of each.

    Those that are known already are not made again; their network is then None.
    """
    have = {(one.group, one.number): one for one in known}
    for number in range(max(group.count for group in groups)):
        for group in groups:
            if number >= group.count:
                continue
            if (group.name, number) in have:
                yield have[group.name, number], None
            else:
                yield workshop.measured(group, number)
