"""The page of the comparison: areas, rates and named targets by population, costs, and ECCV's own row beside ours."""

from collections.abc import Container, Mapping
from typing import NamedTuple

from onepixel.detectors.metrics import Estimate
from onepixel.experiments.comparison_rows import Row
from onepixel.experiments.method_records import ACCURACY, OURS
from onepixel.experiments.reach_records import kind_of
from onepixel.experiments.signature_records import BY_SIGNATURE
from onepixel.methods import METHODS
from onepixel.report.tables import markdown_table


class Found(NamedTuple):
    """All rows; methods that did not work on their own ground; what a network costs; networks ours was chosen on."""

    rows: list[Row]
    left_out: list[str]
    costs: dict[str, tuple[float, float]]
    seen: Container[tuple[str, int]] = frozenset()


TITLES = {
    "onepixel-gradient": "onepixel, by gradient",
    "onepixel-composed": "onepixel, by queries",
    **{name: way.title for name, way in BY_SIGNATURE.items()},
    ACCURACY: "test accuracy alone",
}

ONE_TO_ONE, ALL_TO_ALL = "-virus", "-attack-all-to-all"
"""What is in the names of populations of these attacks."""

PAPER = {
    ("neural-cleanse", "mnist", ONE_TO_ONE): 60.53,
    ("neural-cleanse", "fashion", ONE_TO_ONE): 63.16,
    ("neural-cleanse", "gtsrb", ONE_TO_ONE): 60.71,
    ("neural-cleanse", "imagenette", ONE_TO_ONE): 54.42,
    ("abs", "gtsrb", ONE_TO_ONE): 66.33,
    ("neural-cleanse", "mnist", ALL_TO_ALL): 50.0,
    ("abs", "mnist", ALL_TO_ALL): 50.0,
}
"""Detection rates in percent that ECCV (Table 2, and section 6 of all to all, "around 50 %") reports of other methods.

By method, data set and attack. The paper's section 6 does not say of which data set its networks are.
"""


def title(method: str) -> str:
    """What a method is called on the page."""
    return TITLES.get(method) or METHODS[method].title


def as_markdown(found: Found, works: Mapping[str, bool]) -> str:
    """The page."""
    return f"""# Compared methods on the same networks

Every row of a population is about the same networks. The threshold is fixed on networks of development pools: all of
them where final ones are tested, else those of other kinds; ours always on other kinds. Detection rates are balanced
accuracy. Intervals of 95 %: of areas by bootstrap over networks, of rates from the exact ones of found and flagged.
With few networks, the interval says more than the number; an area's says nothing where it is 1. "Looked at before"
counts networks that were looked at while our detector was being made (`results/any-classifier/networks/seen.csv`):
where there are any, our row is no clean test. No other method was chosen on any of them.

{_left_out(found.left_out, works)}

{_glance(found)}

## Everything about each row

{_table(found)}

## What a network costs

{_costs(found)}

## The paper's own row

ECCV (Table 2; section 6 of all to all) gives other methods' detection rates in percent. Here is the published rule's
rate on the same data set and attack, and whether the paper's lies in its interval.

{_paper(found)}
"""


def _left_out(names: list[str], works: Mapping[str, bool]) -> str:
    untried = [title(name) for name in METHODS if name not in works and name != "modelaudit"]
    said = [f"{title(name)} did not work on its own ground and is not compared." for name in names]
    said += [f"{', '.join(untried)}: not yet tried on own ground."] if untried else []
    return " ".join(said) or "All methods worked on their own ground."


def _glance(found: Found) -> str:
    """One line for each population: its networks, areas by method, and which place our own detector takes."""
    methods = [name for name in (*METHODS, *TITLES) if any(row.method == name for row in found.rows)]
    lines = []
    for population in dict.fromkeys(row.population for row in found.rows):
        rows = {row.method: row for row in found.rows if row.population == population}
        first = next(iter(rows.values()))
        numbers = f"{len(first.clean)} + {len(first.trojaned)} + {len(first.stamped)}"
        areas = [
            f"{rows[name].area.value:.3f}" if name in rows else _why_none(found, name, population) for name in methods
        ]
        lines.append([f"`{population}`", numbers, *areas, _place(rows)])
    head = ["trojaned networks", "clean + trojaned + stamped", *map(title, methods), "ours"]
    return f"{GLANCE}\n\n{markdown_table(head, lines)}"


GLANCE = """Areas under the curve, all methods on the same networks. "-": not judged on enough of these networks yet.
"Needs shadows": the method has to be trained on clean and trojaned networks of this architecture; there are none here.
The last column says which place ours takes among methods that look at the network, the better of its two searches."""


def _why_none(found: Found, method: str, population: str) -> str:
    """Why a method has no area: it lacks shadow networks of this kind, unless it judged others of the kind."""
    judged = any(row.method == method and kind_of(row.population) == kind_of(population) for row in found.rows)
    shadows = method in METHODS and METHODS[method].needs.shadows
    return "needs shadows" if shadows and not judged else "-"


def _place(rows: Mapping[str, Row]) -> str:
    """Which place the better of our two searches takes, ties shared; test accuracy alone is no method that competes."""
    own = [row.area.value for name, row in rows.items() if name in OURS]
    if not own:
        return "-"
    ahead = sum(row.area.value > max(own) for name, row in rows.items() if name in METHODS)
    tied = any(row.area.value == max(own) for name, row in rows.items() if name in METHODS)
    return ("first", "second", "third", "fourth", "fifth")[min(ahead, 4)] + (", tied" if tied else "")


def _table(found: Found) -> str:
    lines = [
        [
            f"`{row.population}`",
            title(row.method),
            f"{row.area.value:.3f} [{row.area.low:.2f}, {row.area.high:.2f}]",
            _percent(row.published),
            _percent(row.rate),
            _of(sum(bool(one.flagged) for one in row.trojaned) if row.published else None, len(row.trojaned)),
            _of(sum(bool(one.flagged) for one in row.clean) if row.published else None, len(row.clean)),
            _of(row.flagged(row.clean), len(row.clean)),
            _of(row.flagged(row.stamped), len(row.stamped)),
            _of(row.named, len(row.trojaned)),
            "-" if row.cross_entropy is None else f"{row.cross_entropy:.2f}",
            _seen(row, found.seen),
        ]
        for row in found.rows
    ]
    head = ["trojaned networks", "method", "AUROC", "published rule", "fixed threshold", "found, published"]
    head += ["clean flagged, published", "clean flagged", "stamped flagged", "target named", "cross-entropy"]
    head += ["looked at before"]
    return markdown_table(head, lines)


def _seen(row: Row, seen: Container[tuple[str, int]]) -> str:
    """How many of the networks the project's own detector was chosen on, or looked at meanwhile."""
    if row.method not in OURS:
        return "-"
    networks = (*row.clean, *row.trojaned, *row.stamped)
    return _of(sum((one.population, one.slot) in seen for one in networks), len(networks))


def _percent(rate: Estimate | None) -> str:
    return "-" if rate is None else f"{100 * rate.value:.0f} % [{100 * rate.low:.0f}, {100 * rate.high:.0f}]"


def _of(count: int | None, total: int) -> str:
    return "-" if count is None or not total else f"{count} of {total}"


def _costs(found: Found) -> str:
    own = {name: found.costs[name] for name in OURS if name in found.costs}
    base = own.get("onepixel-gradient") or next(iter(own.values()), None)
    lines = []
    for name, (seconds, queries) in sorted(found.costs.items(), key=lambda item: item[1][0]):
        ratios = ["-", "-"] if base is None else [f"{seconds / base[0]:.2f}", f"{queries / base[1]:.2f}"]
        lines.append([title(name), f"{seconds:.1f}", f"{queries:,.0f}", *ratios])
    words = "Median seconds of one processor core and mean images asked about, a backward pass counted once more"
    compared_with = "." if base is None else "; ratios to ours by gradient."
    head = ["method", "seconds", "queries", "seconds, ratio", "queries, ratio"]
    return f"{words}{compared_with}\n\n{markdown_table(head, lines)}"


def _paper(found: Found) -> str:
    lines = []
    for (method, dataset, attack), reported in PAPER.items():
        words = "one to one" if attack == ONE_TO_ONE else "all to all"
        rows = [row for row in found.rows if row.method == method and _is_of(row, dataset, attack)]
        judged = [(row.population, row.published) for row in rows if row.published is not None]
        lines += [
            [
                title(method),
                f"{dataset}, {words}",
                f"{reported:.2f} %",
                f"`{name}`",
                _percent(rate),
                _beside(reported, rate),
            ]
            for name, rate in judged
        ] or [[title(method), f"{dataset}, {words}", f"{reported:.2f} %", "-", "-", "not measured"]]
    return markdown_table(["method", "networks", "ECCV", "here", "published rule", "in words"], lines)


def _is_of(row: Row, dataset: str, attack: str) -> bool:
    return row.population.startswith(f"{dataset}-") and attack in row.population


def _beside(reported: float, rate: Estimate) -> str:
    """Whether a reported rate in percent lies in the interval of one that was measured."""
    if 100 * rate.low <= reported <= 100 * rate.high:
        return "not contradicted: it lies inside the interval"
    return "contradicted: " + ("better here" if 100 * rate.low > reported else "worse here")
