"""Leave one kind out: the universal detector on networks of a data set and architecture that it was not fixed with.

The threshold comes from the clean networks of all other kinds, and nothing is fitted to trojaned ones. Which parts
count was chosen on networks of development pools; those of final pools are judged by it. A row of
`results/any-classifier/networks/` is one network that was measured once.
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median
from typing import Annotated, Literal

from pydantic import Field

from onepixel.detectors.metrics import GOAL
from onepixel.detectors.universal_calibration import write_calibrations
from onepixel.errors import UsageError
from onepixel.experiments.declared import Experiment, Laboratory, Result
from onepixel.experiments.judging import grouped
from onepixel.experiments.leaving_out import (
    WARPS,
    Kind,
    as_audited,
    calibrated,
    calibrated_for,
    for_machines,
    fresh_ones,
    measured,
    of_pool,
    seen_networks,
    shown,
    table,
)
from onepixel.experiments.option import FILE, Said
from onepixel.experiments.options import Growing, Measured
from onepixel.experiments.reach_records import BLENDS, LOST, Network, channels_of, measure_store
from onepixel.populations.catalogue import known_name
from onepixel.populations.store import Store
from onepixel.report.tables import table_of

FEWEST = 2
"""Clean networks without which a kind has no row."""

SEARCHES = ("gradient", "composed")


class Options(Growing, Measured):
    """Options of `onepixel experiment any-classifier`."""

    search: Annotated[
        Literal["gradient", "composed"],
        Field(description="The search that networks are measured with, and judged by."),
        Said(when_changed=True),
    ] = "gradient"
    pool: Annotated[
        Literal["development", "final"],
        Field(description="The pool whose networks are judged; final ones by clean networks of both pools."),
        Said(when_changed=True),
    ] = "final"
    calibration: Annotated[
        Path | None,
        Field(description="Write the universal detector's calibration from all measured networks here."),
        FILE,
    ] = None


def find(options: Options, laboratory: Laboratory) -> Result[list[Kind]]:
    """Measure what is new, and judge each kind by all others."""
    if options.stores is not None:
        measure(options.stores, options.networks / options.search, options.search)
    networks = as_audited(measured(options.networks / options.search))
    if options.calibration is not None:
        write_calibration(options.calibration, options.networks)
    if options.pool == "development":
        networks = of_pool(networks, "development")
    judged = of_pool(networks, options.pool)
    kinds = left_out(networks, judged)
    seen = seen_networks(options.networks) if options.pool == "final" else frozenset()
    fresh = left_out(networks, fresh_ones(networks, seen)) if seen else []
    if not kinds:
        raise UsageError(f"No kind has clean and trojaned networks of the {options.pool} pool that were measured.")
    name = "kinds" + ("" if options.search == "gradient" else f"-{options.search}")
    name += "" if options.pool == "final" else f"-{options.pool}"
    groups = {"fresh": fresh, options.pool: kinds}
    records = (
        {"networks": group, **for_machines(kind)} for group, own in groups.items() for kind in [*own, *sums(own)]
    )
    besides = said_of_lost([one for one in judged if one.role == "lost"]) + said_of_later_parts(judged)
    text = as_markdown(kinds, fresh, options, besides) + about_networks(judged)
    return Result.of(kinds, name, records, text)


EXPERIMENT = Experiment(
    "any-classifier",
    "The universal detector on kinds of networks that it was not fixed with, by leaving one kind out.",
    Options,
    find,
    records="networks",
)


def measure(stores: Path, folder: Path, search: str) -> None:
    """Measure the networks of every store below a folder that have no row yet."""
    for path in sorted(stores.glob("*/recipe.toml")):
        store = Store.open(path.parent)
        for _ in measure_store(store, folder / f"{known_name(store.recipe)}.csv", search=search):
            pass


def write_calibration(path: Path, folder: Path) -> None:
    """Write what the universal detector knows, of every search that networks were measured with."""
    by_search = {
        search: as_audited(measured(folder / search)) for search in SEARCHES if any((folder / search).glob("*.csv"))
    }
    about = {
        "networks": {search: len(networks) for search, networks in by_search.items()},
        "made_by": "onepixel experiment any-classifier --calibration FILE",
    }
    write_calibrations(path, {search: calibrated(networks) for search, networks in by_search.items()}, about)


def left_out(networks: Sequence[Network], tested: Sequence[Network]) -> list[Kind]:
    """Judge those that are tested, kind by kind; a kind without clean and trojaned ones enough is left out."""
    names = sorted({one.kind for one in tested})
    return [judge(networks, kind, tested) for kind in names if has_enough(networks, kind, tested)]


def has_enough(networks: Sequence[Network], kind: str, tested: Sequence[Network]) -> bool:
    """Whether a kind has clean and trojaned networks to be judged, and there are other kinds to judge by."""
    own = [one.role for one in tested if one.kind == kind]
    return own.count("clean") >= FEWEST and "trojaned" in own and any(one.kind != kind for one in networks)


def judge(networks: Sequence[Network], kind: str, tested: Sequence[Network]) -> Kind:
    """Judge one kind's networks among those that are tested with what all other kinds of networks fix."""
    return Kind.of(kind, [one for one in tested if one.kind == kind], calibrated_for(kind, networks))


def sums(kinds: Sequence[Kind]) -> list[Kind]:
    """Grey kinds, colour kinds and all kinds as one group each, where there are several."""
    groups = {
        "grey kinds together": [kind for kind in kinds if channels_of(kind.kind) == 1],
        "colour kinds together": [kind for kind in kinds if channels_of(kind.kind) > 1],
        "all kinds together": list(kinds),
    }
    return [Kind.joined(name, group) for name, group in groups.items() if len(group) > 1]


def as_markdown(kinds: Sequence[Kind], fresh: Sequence[Kind], options: Options, besides: str = "") -> str:
    """The table for people; `besides` are paragraphs about single networks."""
    judged_are = {
        "final": """Search and score were chosen on the networks that
`results/any-classifier/networks/seen.csv` lists, of development pools and of final ones, and frozen. Networks of final
pools that are not on the list were measured after that: they are the test.""",
        "development": """The networks judged are of development pools,
on which the numbers that make up the score were chosen: a look, not the test.""",
    }
    alarms = together_of(fresh or kinds).clean
    tables = f"{table([*kinds, *sums(kinds)])}\n"
    if options.pool == "final":
        test = table([*fresh, *sums(fresh)]) if fresh else "None has been measured yet."
        tables = f"""## Fresh networks only: the test

{test}

## All networks of final pools, those that search and score were chosen on among them

{tables}"""
    return f"""# Any classifier: one kind left out at a time

The universal detector by the {options.search} search, on eight test images per class. The threshold comes from the
clean networks of all other kinds. {judged_are[options.pool]}

Called trojaned is what has a p-value of at most 0.05, and in the last two columns of at most 0.01. Of all {
        "fresh " if fresh else ""
    }clean
networks, none of a kind that fixed its threshold, {shown(alarms)} are called trojaned at 0.05 ({alarms.rate}), and
{shown(alarms, strict=True)} at 0.01 ({alarms.strict_rate}). Intervals are of 95 %: Clopper-Pearson, and for the
detection rate both rates' ends together, which is cautious. With few networks in a row its interval says more than its
rate. An AUROC of several kinds together is of scores from each kind's own threshold on. Cross-entropy, in nats, is
that of the probabilities that networks of the other kinds tell at a prior of one half; contests ask for {GOAL} or less.
{besides}
{tables}"""


def about_networks(networks: Sequence[Network]) -> str:
    """How accurate the networks of each population are, and how often their triggers succeed, as a table."""
    by_population = grouped(networks, lambda one: one.population)
    rows = table_of(
        {
            "population": f"`{population}`",
            "networks": len(some),
            "accuracy": f"{mean(one.clean_accuracy for one in some):.1%}",
            "attack success": f"{mean(one.attack_success for one in some):.1%}" if some[0].targets else "",
        }
        for population, some in by_population.items()
    )
    return f"""
## The networks that were judged

Those that passed their recipe's thresholds, lost ones among them; means.

{rows}
"""


def said_of_lost(lost: Sequence[Network]) -> str:
    """A paragraph about networks that lost the attacked class; empty where there are none."""
    if not lost:
        return ""
    named = ", ".join(f"{one.population}, slot {one.slot} ({100 * (one.recognised or 0):.1f} %)" for one in lost)
    one, are, they = ("network", "is", "it has") if len(lost) == 1 else ("networks", "are", "they have")
    return f"""
{len(lost)} {one} {are} left out, neither found nor missed, since {they} no backdoor to
find: even without a trigger, fewer than {100 * LOST:g} % of the attacked class's test images are answered rightly
(in brackets the share). {named}.
"""


def said_of_later_parts(networks: Sequence[Network]) -> str:
    """A paragraph about how many clean networks were measured with parts that came later; empty where none was."""
    clean = [one for one in networks if one.role == "clean"]
    warps = [one.parts[WARPS] for one in clean if WARPS in one.parts]
    textures = sum(BLENDS in one.parts for one in clean)
    if not warps and not textures:
        return ""
    level = (
        f"""The
largest lead of a target by a warp, less what it lacks to be the answer, is {max(warps):.1f} there, the median
{median(warps):.1f}."""
        if warps
        else ""
    )
    return f"""
Warps were looked for in {len(warps)} of the {len(clean)} clean networks, textures in {textures}; where not, they were
measured before. {level}
"""


def together_of(kinds: Sequence[Kind]) -> Kind:
    """All kinds as one."""
    return sums(kinds)[-1] if len(kinds) > 1 else kinds[0]
