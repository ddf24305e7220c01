"""Leave one kind out: the universal detector on networks of a data set and architecture that it was not fixed with.

Centre, scale and threshold come from the clean networks of all other kinds, and nothing is fitted to trojaned ones;
which parts count was chosen on these development networks, so that the table is a look and no final number. A row of
`results/any-classifier/networks/` is one network that was measured once.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field

from onepixel.detectors.metrics import auroc, clopper_pearson
from onepixel.detectors.universal_calibration import Calibration, write_calibrations
from onepixel.errors import UsageError
from onepixel.experiments.declared import Experiment, ExperimentOptions, Laboratory, Result, Said
from onepixel.experiments.reach_records import Network, measure_store, read_networks
from onepixel.experiments.results import markdown_table
from onepixel.populations.catalogue import known_name
from onepixel.populations.store import Store

PARTS = ("patch_pair_lead", "patch_all_lead", "blend_all_lead", "patch_pair")
"""The parts that count towards the score, chosen on networks of development pools: how far the best target's reach lies
above the second best target's, and for attackers with many targets, among which none leads, the reach of a pair."""

FEWEST = 2
"""Clean networks without which a kind has no row."""

SEARCHES = ("gradient", "composed")


class Kind(NamedTuple):
    """How the networks of one kind fare with a detector fixed on all other kinds."""

    kind: str
    search: str
    clean: tuple[float, ...]
    trojaned: tuple[float, ...]
    stamped: tuple[float, ...]
    named: int
    threshold: float

    def flagged(self, scores: Sequence[float]) -> int:
        """How many of these scores are called trojaned."""
        return sum(score >= self.threshold for score in scores)


class Options(ExperimentOptions):
    """Options of `onepixel experiment any-classifier`."""

    networks: Annotated[
        Path,
        Field(description="The folder of measured networks, a file for each population."),
        Said(metavar="FOLDER", when_changed=True),
    ] = Path("results/any-classifier/networks")
    search: Annotated[
        Literal["gradient", "composed"], Field(description="The search that networks are measured with, and judged by.")
    ] = "gradient"
    stores: Annotated[
        Path | None,
        Field(description="A folder of stores, whose networks are measured first."),
        Said(metavar="FOLDER"),
    ] = None
    calibration: Annotated[
        Path | None,
        Field(description="Write the universal detector's calibration from all measured networks here."),
        Said(metavar="FILE"),
    ] = None


def find(options: Options, laboratory: Laboratory) -> Result[list[Kind]]:
    """Measure what is new, and judge each kind by all others."""
    if options.stores is not None:
        measure(options.stores, options.networks / options.search, options.search)
    networks = measured(options.networks / options.search)
    if options.calibration is not None:
        write_calibration(options.calibration, options.networks)
    kinds = [judged(networks, kind) for kind in sorted({one.kind for one in networks}) if has_enough(networks, kind)]
    head = ["kind", "search", "clean", "trojaned", "stamped", "auroc", "detection_rate", "detection_rate_low"]
    head += ["detection_rate_high", "false_alarm_rate", "false_alarm_rate_low", "false_alarm_rate_high"]
    head += ["stamped_false_alarm_rate", "target_named"]
    name = "kinds" if options.search == "gradient" else f"kinds-{options.search}"
    return Result(kinds, name, head, [csv_line(kind) for kind in kinds], as_markdown(kinds, options.search))


EXPERIMENT = Experiment(
    "any-classifier",
    "The universal detector on kinds of networks that it was not fixed with, by leaving one kind out.",
    Options,
    find,
    plan=lambda whole: [Options()] if Options().networks.is_dir() else [],
    workers=False,
)


def measure(stores: Path, folder: Path, search: str) -> None:
    """Measure the networks of every store below a folder that have no row yet."""
    for path in sorted(stores.glob("*/recipe.toml")):
        store = Store.open(path.parent)
        for _ in measure_store(store, folder / f"{known_name(store.recipe)}.csv", search=search):
            pass


def measured(folder: Path) -> list[Network]:
    """Every network that was measured.

    Raises
    ------
    UsageError
        If there is none.
    """
    networks = [one for path in sorted(folder.glob("*.csv")) for one in read_networks(path)]
    if not networks:
        raise UsageError(
            f"There are no measured networks in {folder}; "
            "`onepixel experiment any-classifier --stores FOLDER` measures those of stores."
        )
    return networks


def by_kind(networks: Sequence[Network], role: str) -> dict[str, list[Mapping[str, float]]]:
    """The parts of the networks of one role, by kind."""
    found: dict[str, list[Mapping[str, float]]] = {}
    for one in networks:
        if one.role == role:
            found.setdefault(one.kind, []).append(one.parts)
    return found


def calibrated(networks: Sequence[Network]) -> Calibration:
    """The calibration from clean and trojaned networks."""
    names = [name for name in PARTS if all(name in one.parts for one in networks)]
    return Calibration.fit(by_kind(networks, "clean"), by_kind(networks, "trojaned"), names)


def write_calibration(path: Path, folder: Path) -> None:
    """Write what the universal detector knows, of every search that networks were measured with."""
    by_search = {search: measured(folder / search) for search in SEARCHES if any((folder / search).glob("*.csv"))}
    about = {
        "networks": {search: len(networks) for search, networks in by_search.items()},
        "made_by": "onepixel experiment any-classifier --calibration FILE",
    }
    write_calibrations(path, {search: calibrated(networks) for search, networks in by_search.items()}, about)


def has_enough(networks: Sequence[Network], kind: str) -> bool:
    """Whether a kind has clean and trojaned networks to be judged, and other kinds have clean ones to judge by."""
    own = [one.role for one in networks if one.kind == kind]
    return own.count("clean") >= FEWEST and "trojaned" in own and any(one.kind != kind for one in networks)


def judged(networks: Sequence[Network], kind: str) -> Kind:
    """Judge one kind's networks with what all other kinds fix."""
    calibration = calibrated([one for one in networks if one.kind != kind])
    own = [one for one in networks if one.kind == kind]
    scored = [(one, *calibration.score(one.parts)) for one in own]
    roles = {
        role: tuple(score for one, score, _ in scored if one.role == role) for role in ("clean", "trojaned", "stamped")
    }
    named = sum(one.named[part] in one.targets for one, _, part in scored if one.role == "trojaned")
    return Kind(kind, own[0].search, **roles, named=named, threshold=calibration.threshold)


def area(kind: Kind) -> float:
    """Area under the curve of clean against trojaned networks."""
    return auroc(np.array(kind.clean), np.array(kind.trojaned))


def detection_rate(kind: Kind) -> tuple[float, float, float]:
    """Balanced accuracy, and what it would be at both ends of the two rates' exact intervals."""
    alarms = clopper_pearson(kind.flagged(kind.clean), len(kind.clean))
    found = clopper_pearson(kind.flagged(kind.trojaned), len(kind.trojaned))
    middle = (1 - alarms.value + found.value) / 2
    return middle, (1 - alarms.high + found.low) / 2, (1 - alarms.low + found.high) / 2


def csv_line(kind: Kind) -> list[object]:
    """One kind in shares; stamped networks' rate is empty where there are none."""
    alarms = clopper_pearson(kind.flagged(kind.clean), len(kind.clean))
    stamped = f"{kind.flagged(kind.stamped) / len(kind.stamped):.4f}" if kind.stamped else ""
    counts = [len(kind.clean), len(kind.trojaned), len(kind.stamped)]
    rates = [area(kind), *detection_rate(kind), alarms.value, alarms.low, alarms.high]
    named = f"{kind.named / len(kind.trojaned):.4f}"
    return [kind.kind, kind.search, *counts, *(f"{rate:.4f}" for rate in rates), stamped, named]


def as_markdown(kinds: Sequence[Kind], search: str) -> str:
    """The table for people."""
    lines = []
    for kind in kinds:
        middle, low, high = detection_rate(kind)
        stamped = f"{kind.flagged(kind.stamped)} of {len(kind.stamped)}" if kind.stamped else "-"
        lines.append(
            [
                kind.kind,
                f"{area(kind):.3f}",
                f"{100 * middle:.1f} % [{100 * low:.0f}, {100 * high:.0f}]",
                f"{kind.flagged(kind.trojaned)} of {len(kind.trojaned)}",
                f"{kind.flagged(kind.clean)} of {len(kind.clean)}",
                stamped,
                f"{kind.named} of {len(kind.trojaned)}",
            ]
        )
    head = ["kind left out", "AUROC", "detection rate", "trojaned found", "clean flagged"]
    head += ["stamped flagged", "target named"]
    return f"""# Any classifier: one kind left out at a time

The universal detector by the {search} search, on eight test images per class. Centre, scale and threshold come from the
clean networks of all other kinds. Intervals of 95 %: both rates' Clopper-Pearson ends together, which is cautious.
With few networks in a row its interval says more than its rate. Which numbers make up the score was chosen on these
very networks, all of development pools: a look, not yet the test.

{markdown_table(head, lines)}
"""
