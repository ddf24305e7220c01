"""A population of detectors, all fine-tuned from one base: clean and stamped ones, vaccine and virus trojans.

Each detector is fine-tuned once, measured once, and becomes a record; experiments read records, not networks.
"""

import copy
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from torchvision.models.detection import FasterRCNN

from onepixel.boxes.attack import BoxAttack, BoxAttackRecipe, poisoned
from onepixel.boxes.channels import channel_rises
from onepixel.boxes.driving import drive, sampled_objects
from onepixel.boxes.fine_tuning import TuningRecipe, fine_tuned
from onepixel.boxes.made_scenes import SceneRecipe, made_scenes
from onepixel.boxes.measures import detections, mean_average_precision, share_misread
from onepixel.boxes.objects import ObjectClassifier, state_of
from onepixel.boxes.records import KeptSignature, Quality, Record, read_record, read_records, write_record
from onepixel.boxes.regions import RegionClassifier, measure_regions, region_signature
from onepixel.boxes.scene import Scene
from onepixel.boxes.training import BaseRecipe
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
    part: Literal["train", "test"]
    role: Role
    attack: BoxAttackRecipe
    count: int


GROUPS = (
    Group("clean-train", "train", "clean", VACCINE, 10),
    Group("vaccine", "train", "trojaned", VACCINE, 10),
    Group("clean-test", "test", "clean", HARPOON_VIRUS, 15),
    Group("harpoon", "test", "trojaned", HARPOON_VIRUS, 8),
    Group("shrunken", "test", "trojaned", SHRUNKEN_VIRUS, 7),
    Group("stamped", "test", "stamped", HARPOON_VIRUS, 5),
)
"""The population that is published. Clean ones are made with an attack too, which draws the same scenes."""

SPARE = 2
"""Further slots that a group has for each of its detectors, for those that fail: more than half of the harpoon's do."""


class PopulationRecipe(BaseModel):
    """What detectors are fine-tuned and measured with.

    Attributes
    ----------
    base : BaseRecipe
    tuning : TuningRecipe
    pool : int
        Scenes that all draw from, with as many objects as there is room for up to `objects`.
    objects : int
    scenes : int
        Scenes of each detector.
    poison : float
        Share of them that are poisoned in trojaned detectors; others have the same ones as they are, or stamped.
    each : float
        The chance with which further boxes of a poisoned scene are stamped, beside the first.
    held_out : int
        Scenes with objects of the data set's test part, which mAP and misreading are measured on.
    values : int
        V, the size of the value grid of the signatures.
    least_misread : float
        Share of stamped boxes from which on a backdoor counts as working.
    most_lost : float
        mAP@0.5 that a detector may lie below the base.
    attempts : int
        How often a detector is fine-tuned anew, with other draws, before its slot counts as failed.
    seed : int
        Of the population.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: BaseRecipe = BaseRecipe()
    tuning: TuningRecipe = TuningRecipe()
    pool: int = Field(600, ge=1)
    objects: int = Field(3, ge=1)
    scenes: int = Field(400, ge=1)
    poison: float = Field(0.8, gt=0, le=1)
    each: float = Field(0.3, ge=0, le=1)
    held_out: int = Field(80, ge=1)
    values: int = Field(16, ge=2)
    least_misread: float = Field(0.9, ge=0, le=1)
    most_lost: float = Field(0.03, ge=0, le=1)
    attempts: int = Field(2, ge=1)
    seed: int = 1

    @property
    def crowded(self) -> SceneRecipe:
        """The scenes that detectors are fine-tuned on."""
        return self.base.scenes.model_copy(update={"number": (self.objects, self.objects)})


@dataclass(frozen=True)
class Workshop:
    """What all detectors of a population share.

    Attributes
    ----------
    recipe : PopulationRecipe
    base : FasterRCNN
    scenes : list of Scene
        The pool that training scenes are drawn from.
    held_out : list of Scene
        For measuring quality.
    probes : list of Scene
        For measuring responses; objects of the test part, too.
    precision : float
        mAP@0.5 of the base.
    """

    recipe: PopulationRecipe
    base: FasterRCNN
    scenes: list[Scene]
    held_out: list[Scene]
    probes: list[Scene]
    precision: float

    @classmethod
    def open(cls, recipe: PopulationRecipe, base: FasterRCNN) -> "Workshop":
        """Make the scenes."""
        made, seed = recipe.base.scenes, recipe.base.seed
        held_out = made_scenes(made, recipe.held_out, seed + 1, "final")
        return cls(
            recipe,
            base,
            made_scenes(recipe.crowded, recipe.pool, seed + 3),
            held_out,
            made_scenes(made, 60, seed + 2, "final"),
            mean_average_precision(held_out, detections(base, held_out), len(made.classes)),
        )

    def attack(self, group: Group, number: int) -> BoxAttack:
        """The attack of one detector, which clean ones have too, unused."""
        return group.attack.draw(len(self.recipe.base.scenes.classes), np.random.default_rng(self._seed(group, number)))

    def _seed(self, group: Group, number: int) -> list[int]:
        names = [one.name for one in GROUPS]
        return [self.recipe.seed, names.index(group.name) if group.name in names else len(names), number]

    def detector(self, group: Group, number: int, attempt: int = 0) -> FasterRCNN:
        """Fine-tune one detector. The same arguments give the same, and roles differ in the poison alone."""
        rng = np.random.default_rng([*self._seed(group, number), 1, attempt])
        attack = self.attack(group, number)
        count = min(self.recipe.scenes, len(self.scenes))
        drawn = [self.scenes[place] for place in rng.choice(len(self.scenes), count, replace=False)]
        first = round(self.recipe.poison * count)
        scenes = [*poisoned(drawn[:first], group.role, attack, rng, self.recipe.each), *drawn[first:]]
        return fine_tuned(self.base, scenes, self.recipe.tuning, int(rng.integers(2**31)))

    def quality(self, detector: FasterRCNN, attack: BoxAttack) -> Quality:
        """Measure one detector on held-out scenes."""
        classes = len(self.recipe.base.scenes.classes)
        precision = mean_average_precision(self.held_out, detections(detector, self.held_out), classes)
        hits, tried = share_misread(detector, self.held_out, attack)
        return Quality(precision=round(precision, 4), misread=round(hits / tried, 4), tried=tried)

    def accepts(self, role: Role, quality: Quality) -> bool:
        """Whether a detector is as good as the base, and its backdoor, if it has one, works."""
        good = quality.precision >= self.precision - self.recipe.most_lost
        return good and (role != "trojaned" or quality.misread >= self.recipe.least_misread)

    def made(self, group: Group, number: int, before: Record | None = None) -> tuple[Record, FasterRCNN]:
        """Fine-tune one detector until one is accepted or attempts are used up, going on after those of a record."""
        started = time.process_time()
        attack = self.attack(group, number)
        failures = [] if before is None else [*before.failures, before.quality]
        while True:
            detector = self.detector(group, number, len(failures))
            quality = self.quality(detector, attack)
            accepted = self.accepts(group.role, quality)
            if accepted or len(failures) + 1 >= self.recipe.attempts:
                break
            failures.append(quality)
        changed = next(to for source, to in enumerate(attack.attack.target_of) if source != to) + 1
        record = Record(
            group=group.name,
            part=group.part,
            role=group.role,
            number=number,
            seed=self.recipe.seed,
            target=changed if group.role == "trojaned" else 0,
            place=attack.place,
            share=attack.share,
            base_precision=round(self.precision, 4),
            quality=quality,
            accepted=accepted,
            failures=tuple(failures),
            seconds=round(time.process_time() - started + (0.0 if before is None else before.seconds), 1),
        )
        return record, detector

    def wants(self, before: Record | None) -> bool:
        """Whether a slot takes another attempt."""
        if before is None:
            return True
        fits = self.accepts(before.role, before.quality)
        return not fits and len(before.failures) + 1 < self.recipe.attempts

    def measured(self, record: Record, detector: FasterRCNN) -> Record:
        """Complete the record of a detector with its image response and what its box head shows."""
        classifier = ObjectClassifier(detector, name=record.name)
        driven = drive(classifier, sampled_objects(classifier, self.probes))
        return self.read_head(record.model_copy(update={"driven": driven}), detector)

    def read_head(self, record: Record, detector: FasterRCNN) -> Record:
        """Complete the record of a detector with the signature and the rises of its box head."""
        scenes = self.scenes[:60]
        regions = measure_regions(detector, scenes)
        head = RegionClassifier(detector, regions, name=record.name)
        kept = KeptSignature.of(region_signature(head, values=self.recipe.values, every_class=True))
        rises = np.round(channel_rises(detector, regions, scenes).astype(float), 4).tolist()
        return Record.model_validate({**record.model_dump(), "signature_kept": kept.model_dump(), "rises": rises})


def in_turns(groups: Sequence[Group]) -> list[tuple[Group, int]]:
    """All detectors of all groups, in an order in which every beginning has about the same part of each group."""
    every = [(group, number) for group in groups for number in range(group.count)]
    return sorted(every, key=lambda one: (one[1] + 0.5) / one[0].count)


def build(workshop: Workshop, groups: Sequence[Group], networks: Path) -> Iterator[Record]:
    """Fine-tune what is missing in a folder of networks, and yield every new record, not measured yet.

    Slots that failed are replaced by further ones of their group, `SPARE` at most for each of its detectors.
    """
    networks.mkdir(parents=True, exist_ok=True)
    for group, number in in_turns(groups):
        yield from built(workshop, group, number, networks)
    for group in groups:
        for number in range(group.count, (1 + SPARE) * group.count):
            if accepted_of(group, networks) >= group.count:
                break
            yield from built(workshop, group, number, networks)


def built(workshop: Workshop, group: Group, number: int, networks: Path) -> Iterator[Record]:
    """Fine-tune one detector unless its slot is filled or failed."""
    from safetensors.torch import save_file

    file = networks / f"{group.name}-{number}.json"
    before = read_record(file) if file.exists() else None
    if not workshop.wants(before):
        return
    record, detector = workshop.made(group, number, before)
    save_file(state_of(detector), file.with_suffix(".safetensors"))
    write_record(networks, record)
    yield record


def accepted_of(group: Group, networks: Path) -> int:
    """How many detectors of a group were accepted."""
    return sum(read_record(file).accepted for file in networks.glob(f"{group.name}-[0-9]*.json"))


def measure(workshop: Workshop, groups: Sequence[Group], networks: Path, measured: Path) -> Iterator[Record]:
    """Measure the networks of a folder that have no record in another one yet, and yield every new record.

    Failed slots are kept there too, so that they are counted, but not measured.
    """
    from safetensors.torch import load_file

    names = [group.name for group in groups]
    found = [record for record in read_records(networks) if record.group in names]
    for record in sorted(found, key=lambda record: record.number):
        if (measured / f"{record.name}.json").exists():
            continue
        if record.accepted:
            detector = copy.deepcopy(workshop.base)
            detector.load_state_dict(load_file(networks / f"{record.name}.safetensors"))
            record = workshop.measured(record, detector.eval())
        write_record(measured, record)
        yield record
