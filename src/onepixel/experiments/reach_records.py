"""Networks of a store as rows of numbers: what the universal detector measures of each, once.

The table of kinds and the shipped calibration are made from such rows alone, so that both are made again in seconds.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from onepixel.classifiers import as_classifier
from onepixel.datasets import load_dataset
from onepixel.detectors.reach_parts import BROAD, OF_SIZES, READ_OF_SIZES, parts_of, reads_windows
from onepixel.detectors.universal import UniversalDetector
from onepixel.errors import UndecidedError, UsageError
from onepixel.files import write_text
from onepixel.populations.catalogue import known_name
from onepixel.populations.store import Store
from onepixel.populations.training import predict
from onepixel.reaches import Reach, sample_images

OFFERED = 2000
"""Test images of the data set that sample images are taken from, the first ones."""

LOST = 0.1
"""A source class of whose unchanged test images fewer than this share are answered rightly is lost."""

RECOGNISED = 400
"""Test images of the attacked classes that tell how many are answered rightly, at most."""

SEVERAL_SIZES = ("mnist", "fashion")
"""What the kinds begin with on whose images the gradient search looks for patches of several sizes."""

GREY = ("digits", "mnist", "fashion")
"""What the kinds of grey data sets begin with."""

BRIEF = "-brief-"
"""In the name of a population whose networks were trained for one pass over the data, where others have two."""

ABOUT = (
    "kind",
    "role",
    "population",
    "slot",
    "targets",
    "search",
    "queries",
    "clean_accuracy",
    "attack_success",
    "recognised",
)
"""What a row begins with; the parts and their targets follow."""

SHARES = ABOUT[-3:]

BLENDS = "blend_all_untextured"
"""The part that counts of pictures blended in."""

WITH_SIZES = "broad_all_sure"
"""A part that a network has where patches of several sizes were looked for."""

CAME_LATER = {BLENDS: "blend_all_lead", **{f"{OF_SIZES}_{one}": f"patch_{one}" for one in READ_OF_SIZES}}
"""Parts that not all networks were measured for, and what stands for them in those that were not."""


@dataclass(frozen=True)
class Network:
    """One network that was measured.

    Attributes
    ----------
    kind : str
        Data set and architecture.
    role : {"clean", "trojaned", "stamped", "lost"}
        "lost" is what was to be trojaned, where the network does not know the attacked class even without a trigger:
        the trigger changes nothing, so there is no backdoor to find.
    population : str
        The recipe's name.
    slot : int
    targets : tuple of int
        The attacker's targets.
    search : str
    queries : int
    clean_accuracy, attack_success : float
        Of the network, as its store has them.
    named : dict
        The target that each part was read from.
    parts : dict
        Without those that compare with windows of real images, which no score reads.
    recognised : float, optional
        The share of the attacked classes' unchanged test images that the network answers rightly; None of networks
        without an attack, and where it was not measured.
    """

    kind: str
    role: str
    population: str
    slot: int
    targets: tuple[int, ...]
    search: str
    queries: int
    clean_accuracy: float
    attack_success: float
    named: dict[str, int]
    parts: dict[str, float]
    recognised: float | None = None

    @property
    def one_size(self) -> bool:
        """Whether patches of one size were looked for where an audit looks for several: it was measured before that."""
        return self.search == "gradient" and self.kind.startswith(SEVERAL_SIZES) and WITH_SIZES not in self.parts

    def by_one_size(self) -> "Network":
        """The same without what patches of other sizes say, so that those of the usual size stand for all."""
        of_one = [name for name in self.parts if not name.startswith((f"{OF_SIZES}_", f"{BROAD}_"))]
        return replace(
            self, named={name: self.named[name] for name in of_one}, parts={name: self.parts[name] for name in of_one}
        )

    @property
    def counted(self) -> dict[str, float]:
        """The parts, and of `CAME_LATER` what stands for those that are missing: whole leads, one size."""
        others = {later: self.parts[before] for later, before in CAME_LATER.items() if before in self.parts}
        return {**others, **self.parts}

    def target_of(self, part: str) -> int:
        """The target that one of the parts that count was read from."""
        return self.named[part if part in self.named else CAME_LATER[part]]


def measure_network(store: Store, slot: int, search: str = "auto", offered: int = OFFERED) -> Network:
    """Measure one network of a store with test images of its data set.

    Parameters
    ----------
    store : Store
    slot : int
    search : {"auto", "composed", "gradient"}
    offered : int
        Test images that sample images are taken from, the first ones.

    Raises
    ------
    UndecidedError
        If the network is sure of fewer than two classes.
    """
    return as_network(store, slot, reaches_of(store, slot, search, offered), recognised_share(store, slot))


def reaches_of(store: Store, slot: int, search: str = "auto", offered: int = OFFERED) -> dict[str, Reach]:
    """What the universal detector reads of one network of a store, see `measure_network`."""
    recipe = store.recipe
    dataset = load_dataset(recipe.dataset)
    classifier = as_classifier(
        store.module(slot), input_shape=dataset.input_shape, outputs="logits", name=f"{recipe.name} {slot}"
    )
    samples = sample_images(classifier, dataset.x_test[:offered], dataset.y_test[:offered].numpy())
    return UniversalDetector.shipped().measure(classifier, samples, search=search)


def recognised_share(store: Store, slot: int) -> float | None:
    """The share of the attacked classes' unchanged test images that a network answers rightly; None without any."""
    recipe, record = store.recipe, store.record(slot)
    attacked = [source for source, target in enumerate(record.target_of) if source != target]
    if role_of(recipe.role) != "trojaned" or not attacked:
        return None
    dataset = load_dataset(recipe.dataset)
    labels = dataset.y_test.numpy()
    numbers = np.flatnonzero(np.isin(labels, attacked))[:RECOGNISED]
    answers = predict(store.module(slot), dataset.x_test[torch.as_tensor(numbers)])
    return float((answers.numpy() == labels[numbers]).mean())


def as_network(store: Store, slot: int, reaches: Mapping[str, Reach], recognised: float | None = None) -> Network:
    """One network of a store and what was measured of it; see `Network`."""
    recipe, record = store.recipe, store.record(slot)
    parts = [part for part in parts_of(reaches) if not reads_windows([part.name])]
    population = known_name(recipe)
    role = role_of(recipe.role)
    targets = {int(t) for s, t in enumerate(record.target_of) if s != t} if role == "trojaned" else set()
    return Network(
        kind=kind_of(population),
        role="lost" if recognised is not None and recognised < LOST else role,
        population=population,
        slot=slot,
        targets=tuple(sorted(targets)),
        search=next(iter(reaches.values())).search if reaches else "",
        queries=sum(one.queries for one in reaches.values()),
        clean_accuracy=record.clean_accuracy,
        attack_success=record.attack_success,
        named={part.name: int(part.reach.target[part.finding]) for part in parts},
        parts={part.name: part.value for part in parts},
        recognised=recognised,
    )


def kind_of(population: str) -> str:
    """The data set and architecture (or whose attacks) that a population's name begins with."""
    roles = ("brief", "clean", "trojaned", "virus", "vaccine", "all-to-one", "stamped", "patch", "whole-image")
    for role in (*roles, "attack"):
        population = population.split(f"-{role}")[0]
    return population


def channels_of(kind: str) -> int:
    """Of the images of a kind: 1 of grey data sets, otherwise 3."""
    return 1 if kind.startswith(GREY) else 3


def alike(population: str, other: str) -> bool:
    """Whether two populations have data set, architecture and length of training in common."""
    return kind_of(population) == kind_of(other) and (BRIEF in population) == (BRIEF in other)


def role_of(role: str) -> str:
    """What a population's networks are to a detector: clean, trojaned, or stamped without a backdoor."""
    if role in ("clean", "stamped"):
        return role
    return "trojaned"


def measure_store(store: Store, file: Path, *, most: int | None = None, search: str = "auto") -> Iterator[Network]:
    """Measure the networks of a store that passed its thresholds and have no row in a file yet, and append theirs.

    Parameters
    ----------
    store : Store
    file : Path
        Made where it does not exist. A row that is there is never measured again.
    most : int, optional
        How many networks the file should have at most; those of the first slots.
    search : {"auto", "composed", "gradient"}

    Yields
    ------
    Network
        As soon as its row is in the file. A network that is sure of fewer than two classes has none.
    """
    known = {one.slot for one in read_networks(file)} if file.exists() else set()
    for slot in store.slots:
        if most is not None and len(known) >= most:
            break
        if slot in known or not store.record_path(slot).exists() or store.record(slot).status != "passed":
            continue
        try:
            network = measure_network(store, slot, search)
        except UndecidedError:
            continue
        append_network(file, network)
        known.add(slot)
        yield network


def append_network(file: Path, network: Network) -> None:
    """Write one more row; the file is made where it does not exist.

    For parts that an older file has no columns for, the file is written anew with them, empty in its other rows.

    Raises
    ------
    UsageError
        If the file has columns for parts that the network has not.
    """
    head = columns([network])
    if file.exists():
        known = head_of(file)
        if missing := sorted(set(known) - set(head)):
            raise UsageError(
                f"{file} has {', '.join(missing)} of every network, which network {network.slot} of "
                f"{network.population} lacks."
            )
        if set(head) - set(known) - set(ABOUT):
            write_networks(file, [*read_networks(file), network])
            return
    append_row(file, cells_of(network), head)


def append_row(file: Path, row: Mapping[str, object], head: Sequence[str]) -> None:
    """Write one more row in a file's own columns; where there is no file, one with this head is made first."""
    if file.exists():
        with file.open("a", encoding="utf-8", newline="") as rows:
            rows.write(as_csv([row], head_of(file)).partition("\n")[2])
    else:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, as_csv([row], head))


def head_of(file: Path) -> list[str]:
    """The names of a file's columns."""
    with file.open(encoding="utf-8", newline="") as rows:
        return next(csv.reader(rows), [])


def write_networks(path: Path, networks: Sequence[Network]) -> None:
    """Write one row per network."""
    write_text(path, as_csv(map(cells_of, networks), columns(networks)))


def columns(networks: Sequence[Network]) -> list[str]:
    """The columns of networks' rows: what they are, their parts, and those parts' targets."""
    names = sorted({name for network in networks for name in network.parts})
    return [*ABOUT, *names, *(f"{name} target" for name in names)]


def cells_of(one: Network) -> dict[str, object]:
    """A network as the cells of a row."""
    about = {name: getattr(one, name) for name in ABOUT}
    about |= {"targets": " ".join(map(str, one.targets))}
    about |= {name: f"{about[name]:.4f}" for name in SHARES if about[name] is not None}
    parts = {name: f"{value:.4g}" for name, value in one.parts.items()}
    return {**about, **parts, **{f"{name} target": one.named.get(name, "") for name in one.parts}}


def as_csv(rows: Iterable[Mapping[str, object]], head: Sequence[str]) -> str:
    """Rows below the names of their columns; empty where a row has nothing."""
    text = io.StringIO()
    table = csv.DictWriter(text, head, restval="", extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


def read_folder(folder: Path) -> list[Network]:
    """The networks of every file of a folder, in the order of the files' names."""
    return [one for path in sorted(folder.glob("*.csv")) for one in read_networks(path)]


def read_networks(path: Path) -> list[Network]:
    """Read what `write_networks` wrote."""
    with path.open(encoding="utf-8", newline="") as file:
        return [network_of(row) for row in csv.DictReader(file)]


def network_of(row: Mapping[str, str]) -> Network:
    """The network of one row."""
    names = [name for name in row if name.endswith(" target")]
    return Network(
        row["kind"],
        row["role"],
        row["population"],
        int(row["slot"]),
        tuple(int(part) for part in row["targets"].split()),
        row["search"],
        int(row["queries"]),
        float(row["clean_accuracy"]),
        float(row["attack_success"]),
        {name.removesuffix(" target"): int(row[name]) for name in names if row[name]},
        {n: float(row[n]) for name in names if row[n := name.removesuffix(" target")]},
        float(row["recognised"]) if row.get("recognised") else None,
    )
