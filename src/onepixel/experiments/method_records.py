"""Networks of stores as rows of what compared methods say of them, each measured once.

A file is what one method said of one population: `FOLDER/METHOD/POPULATION.csv`. It grows by a row as soon as a network
is judged, so that a run that is killed goes on where it was, and every table is made from such rows alone.
"""

import csv
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from onepixel.classifiers import Classifier, as_classifier
from onepixel.datasets import load_dataset
from onepixel.errors import StoreError, UndecidedError, UsageError
from onepixel.experiments.option import USUAL_FOLDER
from onepixel.experiments.options import Growing
from onepixel.experiments.reach_records import OFFERED, measure_network, role_of
from onepixel.files import write_text
from onepixel.methods import Method, TrainedMethod, method
from onepixel.populations.catalogue import known_name
from onepixel.populations.store import Store
from onepixel.reaches import sample_images

ScoresFolder = Annotated[
    Path, Field(description="The folder of what methods said, a file for each method and population."), USUAL_FOLDER
]


class Judging(Growing):
    """Which networks are judged, by which methods."""

    scores: ScoresFolder
    method: Annotated[tuple[str, ...], Field(description="Judge with this one only; may be given several times.")] = ()
    most: Annotated[int | None, Field(description="Networks of each population that are judged at most.", ge=1)] = None

    def none_judged(self, command: str) -> UsageError:
        """What is said where no method said anything of a network."""
        return UsageError(
            f"There are no judged networks in {self.scores}; "
            f"`onepixel experiment {command} --stores FOLDER` judges those of stores."
        )


PER_CLASS = 16
"""Sample images of a class that every method gets, those that a network is sure of."""

SHADOW = "-shadow"
"""The end of the names of populations that methods are trained on and nothing is tested on."""

OURS = {"onepixel-gradient": "gradient", "onepixel-composed": "composed"}
"""The project's own detector by its two searches; its scores are those of `onepixel experiment any-classifier`."""

ACCURACY = "accuracy"
"""A baseline: the test accuracy that a store has of each network."""

HEAD = ("population", "slot", "role", "targets", "score", "flagged", "target", "seconds", "queries")


@dataclass(frozen=True)
class Judgement:
    """What a method said of one network.

    Attributes
    ----------
    population : str
        The recipe's name.
    slot : int
    role : {"clean", "trojaned", "stamped"}
    targets : tuple of int
        The attacker's targets.
    score : float
        NaN where the method could not decide.
    flagged : bool or None
        By the published rule.
    target : int or None
        The class that the method names.
    seconds : float
        Of the processor, in one thread; others' work at the same time does not count.
    queries : int
    """

    population: str
    slot: int
    role: str
    targets: tuple[int, ...]
    score: float
    flagged: bool | None
    target: int | None
    seconds: float
    queries: int

    @property
    def named(self) -> bool:
        """Whether the class that was named is a target of the attacker."""
        return self.target in self.targets


def read_judgements(path: Path) -> list[Judgement]:
    """Read a file of rows; a last row that a killed run did not finish does not count."""
    found = []
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["queries"] is None or not row["queries"]:
                continue
            found.append(
                Judgement(
                    row["population"],
                    int(row["slot"]),
                    row["role"],
                    tuple(int(part) for part in row["targets"].split()),
                    float(row["score"] or "nan"),
                    {"yes": True, "no": False}.get(row["flagged"]),
                    int(row["target"]) if row["target"] else None,
                    float(row["seconds"]),
                    int(row["queries"]),
                )
            )
    return found


def write_judgements(path: Path, judgements: Sequence[Judgement]) -> None:
    """Write a file of rows, whole."""
    lines = [",".join(HEAD)]
    for one in judgements:
        score = "" if np.isnan(one.score) else f"{one.score:.6g}"
        flagged = "" if one.flagged is None else "yes" if one.flagged else "no"
        target = "" if one.target is None else str(one.target)
        cells = [one.population, str(one.slot), one.role, " ".join(map(str, one.targets)), score, flagged, target]
        lines.append(",".join([*cells, f"{one.seconds:.2f}", str(one.queries)]))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "\n".join(lines) + "\n")


def judgements_of(folder: Path, name: str) -> list[Judgement]:
    """All rows of a method."""
    return [one for path in sorted((folder / name).glob("*.csv")) for one in read_judgements(path)]


def judge_store(store: Store, way: Method, folder: Path, most: int | None = None) -> Iterator[Judgement]:
    """Judge networks of a store that passed its thresholds and have no row yet, and append theirs.

    Parameters
    ----------
    store : Store
    way : Method
        Trained, where it is one that has to be.
    folder : Path
        That of all methods' rows.
    most : int, optional
        Networks with a row at most, those of the first slots.

    Yields
    ------
    Judgement
        As soon as its row is in the file.
    """
    path = folder / way.name / f"{known_name(store.recipe)}.csv"
    rows = read_judgements(path) if path.exists() else []
    for slot in _passed(store, most):
        if any(one.slot == slot for one in rows):
            continue
        rows.append(_judged(store, slot, way))
        write_judgements(path, rows)
        yield rows[-1]


def time_ours(store: Store, name: str, folder: Path, most: int) -> Iterator[Judgement]:
    """Measure some networks of a store with the project's own detector; the row has seconds and queries alone."""
    path = folder / name / f"{known_name(store.recipe)}.csv"
    rows = read_judgements(path) if path.exists() else []
    for slot in _passed(store, most):
        if any(one.slot == slot for one in rows):
            continue
        started = processor_seconds()
        try:
            queries = measure_network(store, slot, OURS[name]).queries
        except UndecidedError:
            continue
        seconds = processor_seconds() - started
        role, targets = truth(store, slot)
        rows.append(
            Judgement(known_name(store.recipe), slot, role, targets, float("nan"), None, None, seconds, queries),
        )
        write_judgements(path, rows)
        yield rows[-1]


@cache
def trained(name: str, shadows: tuple[Path, ...]) -> Method | None:
    """A method ready to judge, trained on all shadow networks in these stores where it has to be; None without any."""
    way = method(name)
    if not isinstance(way, TrainedMethod):
        return way
    networks: list[tuple[Classifier, int]] = []
    for path in shadows:
        store = Store.open(path)
        label = int(role_of(store.recipe.role) == "trojaned")
        networks += [(classifier_of(store, slot), label) for slot in _passed(store)]
    if len({label for _, label in networks}) < 2:
        return None
    return way.fit([network for network, _ in networks], [label for _, label in networks])


def shadows_for(store: Store, folder: Path) -> tuple[Path, ...]:
    """Stores of shadow networks for one store: those of its architecture, else all of its data set."""
    recipes = {path.parent: Store.open(path.parent).recipe for path in sorted(folder.glob(f"*{SHADOW}/recipe.toml"))}
    alike = [path for path, recipe in recipes.items() if recipe.dataset == store.recipe.dataset]
    same = [path for path in alike if recipes[path].architecture == store.recipe.architecture]
    return tuple(same or alike)


def classifier_of(store: Store, slot: int) -> Classifier:
    """A network of a store as a classifier of images of its data set."""
    shape = load_dataset(store.recipe.dataset).input_shape
    return as_classifier(store.module(slot), input_shape=shape, outputs="logits", name=f"{store.recipe.name} {slot}")


def truth(store: Store, slot: int) -> tuple[str, tuple[int, ...]]:
    """A network's role, and the attacker's targets."""
    role, record = role_of(store.recipe.role), store.record(slot)
    targets = {int(t) for s, t in enumerate(record.target_of) if s != t} if role == "trojaned" else set()
    return role, tuple(sorted(targets))


def processor_seconds() -> float:
    """Seconds of the processor that this process and the programs it called have taken."""
    taken = os.times()
    return taken.user + taken.system + taken.children_user + taken.children_system


def _passed(store: Store, most: int | None = None) -> list[int]:
    """Slots of finished networks that passed; of an unfinished build, those that there are."""
    found: list[int] = []
    for slot in store.slots:
        if most is not None and len(found) >= most:
            break
        try:
            passed = store.record_path(slot).exists() and store.record(slot).status == "passed"
        except StoreError:
            continue
        found += [slot] if passed else []
    return found


def _judged(store: Store, slot: int, way: Method) -> Judgement:
    role, targets = truth(store, slot)
    classifier = classifier_of(store, slot)
    started = processor_seconds()
    try:
        score = way.score(classifier, *(_images(store, classifier) if way.needs.images else _no_images(classifier)))
    except UndecidedError:
        seconds = processor_seconds() - started
        return Judgement(known_name(store.recipe), slot, role, targets, float("nan"), None, None, seconds, 0)
    return Judgement(
        known_name(store.recipe),
        slot,
        role,
        targets,
        score.value,
        score.flagged,
        score.target_class,
        processor_seconds() - started,
        score.queries,
    )


def _no_images(classifier: Classifier) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """What a method gets that looks at none, so that it judges networks that are sure of too few images as well."""
    return np.zeros((0, *classifier.input_shape), dtype=np.float32), np.zeros(0, dtype=np.int64)


def _images(store: Store, classifier: Classifier) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    dataset = load_dataset(store.recipe.dataset)
    offered, labels = dataset.x_test[:OFFERED], dataset.y_test[:OFFERED].numpy()
    samples = sample_images(classifier, offered, labels, per_class=PER_CLASS)
    return samples.images, samples.labels
