"""Networks of a store as rows of numbers: what the universal detector measures of each, once.

The table of kinds and the shipped calibration are made from such rows alone, so that both are made again in seconds.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from onepixel.classifiers import as_classifier
from onepixel.datasets import load_dataset
from onepixel.detectors.reach_parts import parts_of
from onepixel.detectors.universal import UniversalDetector
from onepixel.errors import UndecidedError
from onepixel.files import write_text
from onepixel.populations.store import Store
from onepixel.reaches import sample_images

OFFERED = 2000
"""Test images of the data set that sample images are taken from, the first ones."""

ROLES = ("clean", "trojaned", "stamped")


@dataclass(frozen=True)
class Network:
    """One network that was measured.

    Attributes
    ----------
    kind : str
        Data set and architecture.
    role : {"clean", "trojaned", "stamped"}
    population : str
        The recipe's name.
    slot : int
    target_of : str
        Where each attacked class goes, such as "4>9", or "all>3".
    targets : tuple of int
        The attacker's targets.
    search : str
    queries : int
    named : dict
        The target that each part was read from.
    parts : dict
    """

    kind: str
    role: str
    population: str
    slot: int
    targets: tuple[int, ...]
    search: str
    queries: int
    named: dict[str, int]
    parts: dict[str, float]


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
    recipe = store.recipe
    dataset = load_dataset(recipe.dataset)
    record = store.record(slot)
    classifier = as_classifier(
        store.module(slot), input_shape=dataset.input_shape, outputs="logits", name=f"{recipe.name} {slot}"
    )
    samples = sample_images(classifier, dataset.x_test[:offered], dataset.y_test[:offered].numpy())
    reaches = UniversalDetector({}).measure(classifier, samples, search=search)
    parts = parts_of(reaches)
    role = role_of(recipe.role)
    targets = {int(t) for s, t in enumerate(record.target_of) if s != t} if role == "trojaned" else set()
    return Network(
        kind=kind_of(recipe.name),
        role=role,
        population=recipe.name,
        slot=slot,
        targets=tuple(sorted(targets)),
        search=next(iter(reaches.values())).search,
        queries=sum(one.queries for one in reaches.values()),
        named={part.name: int(part.reach.target[part.finding]) for part in parts},
        parts={part.name: part.value for part in parts},
    )


def kind_of(population: str) -> str:
    """The data set and architecture (or whose attacks) that a population's name begins with."""
    for role in ("clean", "virus", "vaccine", "all-to-one", "stamped", "patch", "whole-image"):
        population = population.split(f"-{role}")[0]
    return population


def role_of(role: str) -> str:
    """What a population's networks are to a detector: clean, trojaned, or stamped without a backdoor."""
    if role in ("clean", "stamped"):
        return role
    return "trojaned"


def measure_store(store: Store, *, most: int | None = None, search: str = "auto") -> Iterator[Network]:
    """Measure the networks of a store that passed its thresholds, in slot order, at most so many."""
    found = 0
    for slot in store.slots:
        if found == most or not store.record_path(slot).exists() or store.record(slot).status != "passed":
            continue
        try:
            yield measure_network(store, slot, search)
            found += 1
        except UndecidedError:
            continue


def write_networks(path: Path, networks: Sequence[Network]) -> None:
    """Write one row per network."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    names = sorted({name for network in networks for name in network.parts})
    table.writerow(
        ["kind", "role", "population", "slot", "targets", "search", "queries", *names, *(f"{n} target" for n in names)]
    )
    for one in networks:
        row = [one.kind, one.role, one.population, one.slot, " ".join(map(str, one.targets)), one.search, one.queries]
        values = [f"{one.parts[name]:.4g}" if name in one.parts else "" for name in names]
        table.writerow([*row, *values, *(one.named.get(name, "") for name in names)])
    write_text(path, text.getvalue())


def read_networks(path: Path) -> list[Network]:
    """Read what `write_networks` wrote."""
    networks = []
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            names = [name for name in row if name.endswith(" target")]
            networks.append(
                Network(
                    row["kind"],
                    row["role"],
                    row["population"],
                    int(row["slot"]),
                    tuple(int(part) for part in row["targets"].split()),
                    row["search"],
                    int(row["queries"]),
                    {name.removesuffix(" target"): int(row[name]) for name in names if row[name]},
                    {n: float(row[n]) for name in names if row[n := name.removesuffix(" target")]},
                )
            )
    return networks
