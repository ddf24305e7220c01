"""Judging networks of one kind by a universal detector that was fixed on clean networks of all other kinds."""

import csv
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from onepixel.detectors.metrics import Estimate, auroc, balanced_rate, clopper_pearson, cross_entropy
from onepixel.detectors.universal_calibration import ALPHA, Calibration
from onepixel.errors import UsageError
from onepixel.experiments.declared import Cells, interval
from onepixel.experiments.reach_records import BLENDS, Network, channels_of, read_folder
from onepixel.report.tables import table_of

WARPS = "warp_all_reached"
"""The part that counts of warps; networks that were measured before warps were looked for have none."""

PARTS = (
    "patches_pair_lead",
    "patches_all_lead",
    "patches_pair_each",
    "patches_joint_lead",
    "broad_all_sure",
    BLENDS,
    "patch_pair_local",
    "patch_pair_local_lead",
    "patch_all_local",
    WARPS,
)
"""The parts that count towards the score, chosen on networks that are no test.

How far the best target's reach lies above the second best target's, the mean over the sizes of patch that were looked
for: by a patch of a pair, by a patch for all classes, and by both together; how surely a broad patch turns all classes;
and the lead of a picture blended in, less what that does wherever it lies. For attackers with many targets, among which
none leads, how far each source's best target leads, the median over sources. With many classes, where natural
likenesses reach far, also how far a patch of a pair, or for all classes, reaches beyond what other targets get at its
own place, and how far that of a pair leads the same of other targets. And the lead of a warp for all classes, less what
its target lacks to be the answer.
"""

SCALES = {
    "gradient": dict(zip(PARTS, (1.0, 1.0, 1.0, 1.5, 0.5, 1.2, 3.1, 1.2, 3.1, 1.0), strict=True)),
    "composed": dict.fromkeys(PARTS[1:4], 1.0),
}
"""What each part is divided by, for each search. Both together is a sum of three, which varies more, and to a picture
blended in some clean networks bend. A broad patch turns all classes surely, or far less. At a place of its own a
natural feature leads by three times as much as among all targets. By queries alone both together tell more than a patch
of a pair, which does not count by itself there."""

SEEN = "seen.csv"
"""The list of networks that were looked at, in the folder of measured networks."""

STRICT = 0.01
"""A second, stricter p-value that tables look at beside the usual one."""

LOOKED_AT = {
    "mnist-mntd-clean": 3,
    "mnist-mntd-patch": 3,
    "mnist-mntd-whole-image": 3,
    "mnist-contest-2022-clean": 3,
    "mnist-contest-2022-patch-5-percent": 2,
    "mnist-contest-2022-patch-1-percent": 0,
    "mnist-contest-2022-whole-image-5-percent": 2,
    "mnist-contest-2022-whole-image-1-percent": 0,
}
"""Populations that have no pools: so many first slots were looked at when the score was chosen."""


class Placed(Protocol):
    """A network as the place that it has in a population."""

    @property
    def population(self) -> str:
        """The recipe's name."""

    @property
    def slot(self) -> int:
        """Its number there."""


AnyPlaced = TypeVar("AnyPlaced", bound=Placed)


def pool_of(network: Placed) -> str:
    """What the score was chosen on is "development", what it is tested on "final"."""
    if network.population.endswith("-final"):
        return "final"
    seen = LOOKED_AT.get(network.population)
    return "development" if seen is None or network.slot < seen else "final"


def of_pool(networks: Iterable[AnyPlaced], pool: str) -> list[AnyPlaced]:
    """The networks of one pool."""
    return [one for one in networks if pool_of(one) == pool]


def seen_networks(folder: Path) -> frozenset[tuple[str, int]]:
    """Populations and slots of the networks that were looked at while the detector was being made; none without a list.

    Parameters
    ----------
    folder : Path
        Of measured networks; the list is its `seen.csv`, written when search and score were frozen.
    """
    path = folder / SEEN
    if not path.exists():
        return frozenset()
    with path.open(encoding="utf-8", newline="") as file:
        return frozenset((row["population"], int(row["slot"])) for row in csv.DictReader(file))


def fresh_ones(networks: Iterable[Network], seen: Container[tuple[str, int]]) -> list[Network]:
    """The networks of final pools that nobody had looked at when search and score were frozen."""
    return unseen(of_pool(networks, "final"), seen)


def unseen(networks: Iterable[Network], seen: Container[tuple[str, int]]) -> list[Network]:
    """The networks that are not on a list of those that were looked at, of whatever pool."""
    return [one for one in networks if (one.population, one.slot) not in seen]


def measured(folder: Path) -> list[Network]:
    """Every network that was measured.

    Raises
    ------
    UsageError
        If there is none.
    """
    networks = read_folder(folder)
    if not networks:
        raise UsageError(
            f"There are no measured networks in {folder}; "
            "`onepixel experiment any-classifier --stores FOLDER` measures those of stores."
        )
    return networks


def by_kind(networks: Iterable[Network], role: str) -> dict[str, list[Mapping[str, float]]]:
    """The parts of the networks of one role, by kind."""
    found: dict[str, list[Mapping[str, float]]] = {}
    for one in networks:
        if one.role == role:
            found.setdefault(one.kind, []).append(one.counted)
    return found


def calibrated(networks: Sequence[Network], alpha: float = ALPHA) -> Calibration:
    """The calibration from clean and trojaned networks."""
    scales = SCALES[networks[0].search]
    channels = {kind: channels_of(kind) for kind in sorted({one.kind for one in networks})}
    return Calibration.fit(by_kind(networks, "clean"), by_kind(networks, "trojaned"), scales, alpha, channels)


def as_audited(networks: Iterable[Network]) -> list[Network]:
    """The networks that were measured as an audit does; without those of one size of patch where it takes several."""
    return [one for one in networks if not one.one_size]


def alike_in_sizes(judged: Iterable[Network], *others: Iterable[Network]) -> Iterator[tuple[list[Network], ...]]:
    """Networks that are judged, and others that they are judged by, so that patches of as many sizes count for all.

    First those that were measured as an audit does, by others that were; then the rest by all, in one size.

    Yields
    ------
    tuple of list
        Networks that are judged, never none, and those of each of the other tables.
    """
    tables = [list(table) for table in (judged, *others)]
    if as_audited(tables[0]):
        yield tuple(map(as_audited, tables))
    tables[0] = [one for one in tables[0] if one.one_size]
    if tables[0]:
        yield tuple([one.by_one_size() for one in table] for table in tables)


def calibrated_for(kind: str, networks: Sequence[Network]) -> Calibration:
    """What judges networks of a kind: the calibration from all other kinds that show no more channels."""
    return calibrated([one for one in networks if one.kind != kind]).showing(channels_of(kind))


@dataclass(frozen=True)
class Judged:
    """Networks of one role with the scores that a detector fixed elsewhere gives them.

    Attributes
    ----------
    scores : tuple of float
        Counted from the threshold on, so that those of several detectors can stand together.
    flagged, flagged_strictly : int
        How many are called trojaned at p-values of 0.05 and of 0.01.
    named : int
        How many of them have their attacker's target named.
    probabilities : tuple of float
        Of being trojaned, at a prior of one half; empty where the kinds left had no trojaned networks to tell them by.
    """

    scores: tuple[float, ...]
    flagged: int
    flagged_strictly: int
    named: int
    probabilities: tuple[float, ...] = ()

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def rate(self) -> Estimate:
        """The share that is called trojaned."""
        return clopper_pearson(self.flagged, len(self))

    @property
    def strict_rate(self) -> Estimate:
        """The share at the stricter p-value."""
        return clopper_pearson(self.flagged_strictly, len(self))


def judged(networks: Sequence[Network], calibration: Calibration) -> Judged:
    """Score networks by a calibration, whichever networks that is from."""
    scored = [(one, *calibration.score(one.counted)) for one in networks]
    strict = calibration.threshold_at(STRICT)
    return Judged(
        tuple(score - calibration.threshold for _, score, _ in scored),
        sum(score >= calibration.threshold for _, score, _ in scored),
        sum(score >= strict for _, score, _ in scored),
        sum(one.target_of(part) in one.targets for one, _, part in scored),
        tuple(calibration.probability(score) for _, score, _ in scored) if any(calibration.trojaned.values()) else (),
    )


def together(parts: Sequence[Judged]) -> Judged:
    """Networks of several kinds as one group."""
    return Judged(
        tuple(score for part in parts for score in part.scores),
        sum(part.flagged for part in parts),
        sum(part.flagged_strictly for part in parts),
        sum(part.named for part in parts),
        tuple(share for part in parts for share in part.probabilities),
    )


@dataclass(frozen=True)
class Kind:
    """How networks of one kind, or of several together, fare with a detector fixed on all other kinds."""

    kind: str
    search: str
    clean: Judged
    trojaned: Judged
    stamped: Judged

    @classmethod
    def of(cls, kind: str, networks: Sequence[Network], calibration: Calibration) -> "Kind":
        """Judge networks by a calibration."""
        by_role = ([one for one in networks if one.role == role] for role in ("clean", "trojaned", "stamped"))
        return cls(kind, networks[0].search, *(judged(group, calibration) for group in by_role))

    @classmethod
    def joined(cls, name: str, kinds: Sequence["Kind"]) -> "Kind":
        """Several kinds as one."""
        by_role = ([getattr(kind, role) for kind in kinds] for role in ("clean", "trojaned", "stamped"))
        return cls(name, kinds[0].search, *map(together, by_role))

    @property
    def area(self) -> float | None:
        """Area under the curve of clean against trojaned networks; None without clean ones."""
        return auroc(np.array(self.clean.scores), np.array(self.trojaned.scores)) if len(self.clean) else None

    @property
    def surprise(self) -> float | None:
        """Cross-entropy in nats of the probabilities that networks of other kinds tell; None where they tell none."""
        told = self.clean.probabilities, self.trojaned.probabilities
        if not len(self.clean) or [*map(len, told)] != [len(self.clean), len(self.trojaned)]:
            return None
        return cross_entropy(*map(np.array, told))

    @property
    def rate(self) -> Estimate:
        """Balanced accuracy, and what it would be at both ends of the two rates' exact intervals."""
        return balanced_rate(self.clean.rate, self.trojaned.rate)


def shown(judged: Judged, *, strict: bool = False) -> str | None:
    """How many of a group are called trojaned; None of no group."""
    return f"{judged.flagged_strictly if strict else judged.flagged} of {len(judged)}" if len(judged) else None


def for_machines(kind: Kind) -> Cells:
    """One kind in shares, at p-values of 0.05, and where it says so 0.01; empty where there are no stamped networks."""
    return {
        "kind": kind.kind,
        "search": kind.search,
        "clean": len(kind.clean),
        "trojaned": len(kind.trojaned),
        "stamped": len(kind.stamped),
        "auroc": kind.area,
        "cross_entropy": kind.surprise,
        **interval("detection_rate", kind.rate),
        **interval("found_rate", kind.trojaned.rate),
        **interval("false_alarm_rate", kind.clean.rate),
        **interval("stamped_false_alarm_rate", kind.stamped.rate if len(kind.stamped) else None),
        **interval("found_rate_at_1_percent", kind.trojaned.strict_rate),
        **interval("false_alarm_rate_at_1_percent", kind.clean.strict_rate),
        "target_named": kind.trojaned.named / len(kind.trojaned),
    }


def table(kinds: Sequence[Kind], of: str = "kind left out") -> str:
    """One line for each kind."""
    return table_of(
        {
            of: kind.kind,
            "AUROC": f"{kind.area:.3f}",
            "cross-entropy": None if kind.surprise is None else f"{kind.surprise:.4f}",
            "detection rate": f"{100 * kind.rate.value:.1f} % [{100 * kind.rate.low:.0f}, {100 * kind.rate.high:.0f}]",
            "trojaned found": shown(kind.trojaned),
            "clean flagged": shown(kind.clean),
            "stamped flagged": shown(kind.stamped),
            "target named": f"{kind.trojaned.named} of {len(kind.trojaned)}",
            "found at 0.01": shown(kind.trojaned, strict=True),
            "clean flagged at 0.01": shown(kind.clean, strict=True),
        }
        for kind in kinds
    )
