"""The numbers that the universal detector's score is made from: what stands out in the reaches of one classifier."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onepixel.reaches import Reach
from onepixel.reaches.value import EVERY_SOURCE

FEWEST_SOURCES = 3
"""Sources of a target without which its pairs and its change from all classes are nearly the same, and count once."""

PATCHES = ("patch", "speck")
"""Families that are patches of different sizes, of which what both say counts."""

OF_SIZES = "patches"
"""What the parts of all sizes together are called by, as if they were a family."""

BROAD = "broad"
"""The family of patches that are large enough for natural features to lead by them: how far they reach counts."""

SURE = 8.0
"""Log-odds to which a broad patch drives all classes of few clean networks."""

READ_OF_SIZES = ("pair_lead", "all_lead", "pair_each", "joint_lead")
"""Readings of which there is one over all sizes."""

OF_WINDOWS = ("unnatural", "excess")
"""Readings that compare a reach with what windows of real images do; see `Reach.natural`."""

OF_PLACES = ("local", "local_lead")
"""Readings that compare a reach with how far other targets get at its place; see `Reach.rival`."""


@dataclass(frozen=True)
class Part:
    """One number, and the finding that it was read from.

    Attributes
    ----------
    name : str
        The family's short name and what was read: "patch_pair", say.
    value : float
    reach : Reach
    finding : int
        Its number in the reach.
    """

    name: str
    value: float
    reach: Reach
    finding: int


def reads_windows(names: Iterable[str]) -> bool:
    """Whether one of these parts compares a reach with what windows of real images do."""
    return any(name.endswith(OF_WINDOWS) for name in names)


def reads_rivals(names: Iterable[str]) -> bool:
    """Whether one of these parts compares a reach with how far other targets get at its place."""
    return any(name.endswith(OF_PLACES) for name in names)


def parts_of(reaches: Mapping[str, Reach]) -> list[Part]:
    """Read every part of every reach; `reaches` are named by their families' short names.

    For pairs and for changes from all classes alike: the highest reach, how far it lies above the median of all
    targets' highest (what other targets allow) and above the second highest, and above what windows of real images do
    at its place. For pairs also how far each source's best target lies above its second best, the median over sources:
    an attacker with many targets lets none of them lead, but each source has one of its own. And how far the best
    target leads by all of this together (`joint_values`): what drives one class, or all of them only so far, often
    does both a little. Where rivals were looked for, the largest lead of a finding over other targets at its own place
    (`local_leads`), and how far that lies above the largest one of any other target. Of warps the lead less what the
    target lacks to be the answer (`reached`), and of pictures less what they do where they are moved (`untextured`).

    Where patches of several sizes were looked for, also what all sizes say of a target, as "patches": the mean over the
    sizes. What is natural to a class suits one size, while a trigger, or a part of it, leads by any. Of broad patches
    how far the highest reach lies above what hardly any clean network lets one do (`SURE`): large triggers need them.
    """
    return [part for name, reach in reaches.items() for part in _parts(name, reach)] + _of_sizes(reaches)


def _of_sizes(reaches: Mapping[str, Reach]) -> list[Part]:
    found = []
    sizes = sizes_of(reaches).values()
    for reading in READ_OF_SIZES:
        values = target_values(f"{OF_SIZES}_{reading}", reaches)
        if not values:
            continue
        what = reading.split("_")[0]
        if reading == "pair_each":
            # With many targets none leads; what is shown is the one that is driven to farthest.
            farthest = target_values(f"{OF_SIZES}_{what}", reaches)
            target = max(farthest, key=lambda one: farthest[one])
            value = float(np.mean([_middle_lead(source_leads(reach)) for reach in sizes]))
        else:
            target = max(values, key=lambda one: values[one])
            value = values[target]
        best = [(reach, best_by_target(reach, _numbers(reach, what))[target]) for reach in sizes]
        reach, finding = max(best, key=lambda one: float(one[0].flipped[one[1]]))
        found.append(Part(f"{OF_SIZES}_{reading}", value, reach, finding))
    return found


def sizes_of(reaches: Mapping[str, Reach]) -> dict[str, Reach]:
    """Those of patches, whatever their size."""
    return {name: reaches[name] for name in PATCHES if name in reaches}


def _numbers(reach: Reach, what: str) -> NDArray[np.int64]:
    """Of the findings from all classes for "all", and of those of pairs otherwise."""
    return np.flatnonzero((reach.source == EVERY_SOURCE) == (what == "all"))


def _middle_lead(each: Mapping[int, tuple[int, float]]) -> float:
    """The median over the sources of `source_leads` of how far each one's best target leads; 0 without any."""
    return float(np.median([lead for _, lead in each.values()])) if each else 0.0


def _parts(family: str, reach: Reach) -> list[Part]:
    found: list[Part] = []
    for what in ("pair", "all"):
        numbers = _numbers(reach, what)
        if not len(numbers):
            continue
        best = best_by_target(reach, numbers)
        highest = max(best, key=lambda target: float(reach.log_odds[best[target]]))
        top = best[highest]
        values = np.array([reach.log_odds[number] for number in best.values()])
        lead = leads({target: float(reach.log_odds[number]) for target, number in best.items()})[highest]
        own = float(reach.log_odds[top])
        natural = float(reach.natural[top])
        found += [
            Part(f"{family}_{what}", own, reach, top),
            Part(f"{family}_{what}_gap", own - float(np.median(values)), reach, top),
            Part(f"{family}_{what}_lead", lead, reach, top),
            Part(f"{family}_{what}_flipped", float(reach.flipped[top]), reach, top),
            Part(f"{family}_{what}_unnatural", own - natural if np.isfinite(natural) else own, reach, top),
        ]
        if family == BROAD:
            found.append(Part(f"{family}_{what}_sure", own - SURE, reach, top))
        if reach.displacement:
            found.append(Part(f"{family}_{what}_reached", reached(lead, own), reach, top))
        elif reach.alpha < 1:
            found.append(Part(f"{family}_{what}_untextured", untextured(lead, float(reach.texture[top])), reach, top))
        if what == "pair" and (each := source_leads(reach)):
            found.append(Part(f"{family}_{what}_each", _middle_lead(each), reach, top))
        excess = np.array(
            [reach.log_odds[number] - np.nan_to_num(reach.natural[number], nan=-15.0) for number in best.values()]
        )
        wildest = list(best.values())[int(excess.argmax())]
        found.append(Part(f"{family}_{what}_excess", float(excess.max()), reach, wildest))
        if local := local_leads(reach, numbers):
            leading = max(local, key=lambda number: local[number])
            ahead = leads(local_by_target(reach, numbers))[int(reach.target[leading])]
            found += [
                Part(f"{family}_{what}_local", local[leading], reach, leading),
                Part(f"{family}_{what}_local_lead", ahead, reach, leading),
            ]
    best = best_by_target(reach, _numbers(reach, "pair"))
    if best:
        joint = leads(joint_values(reach))
        # Where too few sources were searched, nothing leads.
        highest = max(joint or best, key=lambda target: joint.get(target, float(reach.log_odds[best[target]])))
        found.append(Part(f"{family}_joint_lead", joint.get(highest, 0.0), reach, best[highest]))
    return found


def reached(lead: float, log_odds: float) -> float:
    """A target's lead, less what its log-odds lack to be the likelier answer.

    Small warps drive a clean network nowhere, but one target a little less far from it than others.
    """
    return lead + min(0.0, log_odds)


def untextured(lead: float, texture: float) -> float:
    """A target's lead by a picture, less how far the picture reaches wherever it lies, beyond noise.

    All of the lead where that was not measured. A clean network bends to a faint texture that it takes for strokes of a
    class, and the texture may begin anywhere; see `onepixel.reaches.textures`.
    """
    return lead - max(0.0, texture) if np.isfinite(texture) else lead


def joint_values(reach: Reach) -> dict[int, float]:
    """For each target: the reach of its best pair, the mean over the sources' best, and that from all classes, added.

    Targets with fewer than `FEWEST_SOURCES` pairs that were searched, or without a change from all classes, have none.
    """
    every = best_by_target(reach, _numbers(reach, "all"))
    own: dict[int, dict[int, float]] = {}
    for source, target, value in zip(
        reach.source.tolist(), reach.target.tolist(), reach.log_odds.tolist(), strict=True
    ):
        if source != EVERY_SOURCE:
            by_source = own.setdefault(target, {})
            by_source[source] = max(value, by_source.get(source, -np.inf))
    return {
        target: max(values.values()) + float(np.mean(list(values.values()))) + float(reach.log_odds[every[target]])
        for target, values in own.items()
        if target in every and len(values) >= FEWEST_SOURCES
    }


def best_by_target(reach: Reach, numbers: np.ndarray) -> dict[int, int]:
    """The number of the highest of some findings for each target."""
    best: dict[int, int] = {}
    for number in numbers.tolist():
        target = int(reach.target[number])
        if target not in best or reach.log_odds[number] > reach.log_odds[best[target]]:
            best[target] = number
    return best


def leads(values: Mapping[int, float]) -> dict[int, float]:
    """How far each target's value lies above the highest of all other targets'; 0 for a target that is alone."""
    others = {target: [values[other] for other in values if other != target] or [values[target]] for target in values}
    return {target: value - max(others[target]) for target, value in values.items()}


def local_leads(reach: Reach, numbers: np.ndarray) -> dict[int, float]:
    """How far each of some findings lies above the best other target at its place, where that was looked for."""
    return {
        number: float(reach.log_odds[number] - reach.rival[number])
        for number in numbers.tolist()
        if np.isfinite(reach.rival[number])
    }


def local_by_target(reach: Reach, numbers: np.ndarray) -> dict[int, float]:
    """The largest lead at its own place of some findings of each target."""
    best: dict[int, float] = {}
    for number, lead in local_leads(reach, numbers).items():
        target = int(reach.target[number])
        best[target] = max(lead, best.get(target, -np.inf))
    return best


def source_leads(reach: Reach) -> dict[int, tuple[int, float]]:
    """Each source's best target and how far it lies above its second best, for sources with two targets or more."""
    best: dict[int, dict[int, float]] = {}
    for source, target, value in zip(
        reach.source.tolist(), reach.target.tolist(), reach.log_odds.tolist(), strict=True
    ):
        if source != EVERY_SOURCE:
            own = best.setdefault(source, {})
            own[target] = max(value, own.get(target, -np.inf))
    found = {}
    for source, own in best.items():
        if len(own) > 1:
            first, second = sorted(own, key=lambda target: own[target], reverse=True)[:2]
            found[source] = (first, own[first] - own[second])
    return found


def target_values(name: str, reaches: Mapping[str, Reach]) -> dict[int, float]:
    """What a part would be if only that target counted: its value by each target's own highest finding.

    Parameters
    ----------
    name : str
        Of a part: its family, or "patches" for all sizes of patch together, "pair", "all" or "joint", and "lead",
        "sure", "reached", "untextured", "each", "local", "local_lead" or nothing, such as "patch_pair_lead".
    reaches : dict of str to Reach
        By their families' short names.
    """
    family, what, *reading = name.split("_", 2)
    if family == OF_SIZES:
        sizes = [target_values(f"{size}_{name.partition('_')[2]}", reaches) for size in sizes_of(reaches)]
        common = set.intersection(*map(set, sizes)) if sizes else set()
        return {target: float(np.mean([values[target] for values in sizes])) for target in sorted(common)}
    if family not in reaches:
        return {}
    reach = reaches[family]
    if what == "joint":
        return leads(joint_values(reach))
    numbers = _numbers(reach, what)
    best = best_by_target(reach, numbers)
    values = {target: float(reach.log_odds[finding]) for target, finding in best.items()}
    if reading and reading[0] in OF_PLACES:
        local = local_by_target(reach, numbers)
        return leads(local) if reading == ["local_lead"] else local
    if reading == ["each"]:
        each = source_leads(reach)
        middle = _middle_lead(each)
        own = {
            target: max((lead for first, lead in each.values() if first == target), default=0.0) for target in values
        }
        return {target: min(lead, middle) for target, lead in own.items()}
    if reading == ["sure"]:
        return {target: value - SURE for target, value in values.items()}
    if reading == ["reached"]:
        return {target: reached(lead, values[target]) for target, lead in leads(values).items()}
    if reading == ["untextured"]:
        return {target: untextured(lead, float(reach.texture[best[target]])) for target, lead in leads(values).items()}
    return leads(values) if reading == ["lead"] else values


def sources_of(reach: Reach, finding: int, *, reached: float = 0.0) -> tuple[int, ...]:
    """The classes that a finding drives to its target: its own, or every other class for one that serves all."""
    source = int(reach.source[finding])
    if source != EVERY_SOURCE:
        return (source,)
    return tuple(label for label in reach.classes if label != int(reach.target[finding]))
