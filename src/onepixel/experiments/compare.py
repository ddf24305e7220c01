"""Compared methods and the project's own detector on the very same networks, with the same rules for thresholds.

A method's threshold is fixed on networks of development pools: all of them where final ones are tested, else those of
all other kinds. Ours is fixed on all networks of other kinds, as in `onepixel experiment any-classifier`. Rows are made
from records of single networks (`onepixel.experiments.method_records`), the project's own from those of that one.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from onepixel.detectors.metrics import best_threshold
from onepixel.detectors.probability import logistic_curve
from onepixel.experiments.comparison_page import Found, Row, as_markdown, scores_of
from onepixel.experiments.declared import Cells, Experiment, Laboratory, Result, Said, interval
from onepixel.experiments.leaving_out import calibrated, pool_of, seen_networks
from onepixel.experiments.method_records import (
    ACCURACY,
    OURS,
    SHADOW,
    Judgement,
    Judging,
    ScoresFolder,
    judge_store,
    judgements_of,
    shadows_for,
    time_ours,
    trained,
)
from onepixel.experiments.option import FOLDER, USUAL_FILE, USUAL_FOLDER
from onepixel.experiments.options import Measured
from onepixel.experiments.reach_records import Network, alike, kind_of, measure_store, read_folder
from onepixel.experiments.signature_records import BY_SIGNATURE, judge_by_signatures
from onepixel.experiments.validate import TABLE, validated
from onepixel.methods import METHODS
from onepixel.populations.catalogue import known_name
from onepixel.populations.names import CLASS_MEANS
from onepixel.populations.store import Store

FEWEST = 2
"""Clean, and trojaned, networks without which a population has no row, and a threshold is not fixed."""

SHARE = 0.5
"""A method that judged a smaller share than this of the trojaned, or clean, networks that others judged has no row."""

FIRST = next(iter(OURS))
"""Which of our searches says what networks a row is about."""

TESTED_WHOLE = ("-attack-", "-stamped-all-classes")
"""In the names of populations without pools that no threshold comes from: they are tested, all of them, as final ones.

Of some of them, our detector was looked at on the first few networks; the page counts those."""

Key = tuple[str, int]
Rows = Mapping[Key, Judgement]


class Options(Judging, Measured):
    """Options of `onepixel experiment compare`."""

    scores: ScoresFolder = Path("results/compare/scores")
    attacks: Annotated[
        Path, Field(description="The folder of measured networks of other types of attack."), USUAL_FOLDER
    ] = Path("results/any-classifier/attacks")
    validation: Annotated[
        Path, Field(description="The table of which methods work, written by the experiment validate."), USUAL_FILE
    ] = TABLE
    timed: Annotated[
        Path,
        Field(description="The folder of rows that were made to be timed, on quiet cores; else all rows are."),
        USUAL_FOLDER,
    ] = Path("results/compare/timed")
    shadows: Annotated[
        Path | None, Field(description="A folder of stores of networks that methods are trained on."), FOLDER
    ] = None
    signatures: Annotated[
        str | None,
        Field(description="Judge the zoo's networks of this data set and architecture by their signatures first."),
        Said(metavar="PREFIX"),
    ] = None
    population: Annotated[
        tuple[str, ...], Field(description="Judge this population only; may be given several times.")
    ] = ()


def find(options: Options, laboratory: Laboratory) -> Result[Found]:
    """Judge what is new, and compare what was judged by every method."""
    works = validated(options.validation)
    if options.stores is not None:
        judge(options)
    if options.signatures is not None:
        judge_by_signatures(options.signatures, options.scores, laboratory)
    left_out = [name for name, good in works.items() if not good]
    judged = {name: said for name in METHODS if (said := by_network(options.scores, name))}
    if not judged:
        raise options.none_judged("compare")
    measured = {name: ours(options.networks / search, options.attacks / search) for name, search in OURS.items()}
    measured |= {name: by_network(options.scores, name) for name in BY_SIGNATURE}
    measured[ACCURACY] = accuracies(options.networks / "gradient", options.attacks / "gradient")
    table = {name: said for name, said in (judged | measured).items() if said and name not in left_out}
    rows = compared(table)
    clock = options.timed if options.timed.is_dir() else options.scores
    times = {name: list(by_network(clock, name, timed=True).values()) for name in (*METHODS, *OURS)}
    costs = {
        name: (float(np.median([one.seconds for one in said])), float(np.mean([one.queries for one in said])))
        for name, said in times.items()
        if said
    }
    found = Found(rows, left_out, costs, seen_networks(options.networks))
    records = (for_machines(row, costs) for row in rows)
    return Result.of(found, "compare", records, as_markdown(found, works))


EXPERIMENT = Experiment(
    "compare",
    "Compared methods and the universal detector on the very same networks.",
    Options,
    find,
    after={"validate": (), "any-classifier": ()},
    records="scores",
)


def judge(options: Options) -> None:
    """Judge the networks of every store below a folder that have no row yet, one network after the other."""
    for name in options.method or (*METHODS, *OURS):
        for path in sorted(options.stores.glob("*/recipe.toml")) if options.stores else ():
            store = Store.open(path.parent)
            if (
                options.population and known_name(store.recipe) not in options.population
            ) or SHADOW in store.recipe.name:
                continue
            for _ in said_of(store, name, options):
                pass


def said_of(store: Store, name: str, options: Options) -> Iterator[Judgement | Network]:
    """Judge the networks of one store that have no row yet, yielding each as soon as it has one.

    Ours is measured, or, where the rows asked for are those that are timed, timed.
    """
    if name in OURS and options.scores == options.timed:
        return time_ours(store, name, options.scores, options.most or 2)
    if name in OURS:
        file = f"{OURS[name]}/{known_name(store.recipe)}.csv"
        folder = options.networks if (options.networks / file).exists() else options.attacks
        return measure_store(store, folder / file, most=options.most, search=OURS[name])
    way = trained(name, shadows_for(store, options.shadows) if options.shadows is not None else ())
    return judge_store(store, way, options.scores, options.most) if way is not None else iter(())


def by_network(folder: Path, name: str, *, timed: bool = False) -> dict[Key, Judgement]:
    """What a method said, by network; networks that it could not judge are left out, and rows made for time alone.

    Those count where time is asked for.
    """
    rows = judgements_of(folder, name)
    return {(one.population, one.slot): one for one in rows if not np.isnan(one.score) or (timed and one.queries)}


def ours(folder: Path, attacks: Path) -> dict[Key, Judgement]:
    """What the universal detector says of every network that it measured, fixed on all other kinds in the folder."""
    known = read_folder(folder)
    networks = [*known, *read_folder(attacks)]
    found: dict[Key, Judgement] = {}
    for kind in sorted({one.kind for one in networks}):
        others = [one for one in known if one.kind != kind]
        if not any(one.role == "clean" for one in others):
            continue
        calibration = calibrated(others)
        for one in networks:
            if one.kind == kind:
                score, part = calibration.score(one.parts)
                found[one.population, one.slot] = _judgement(one, score - calibration.threshold, one.named[part])
    return found


def accuracies(*folders: Path) -> dict[Key, Judgement]:
    """What a child could think of: the lower a network's test accuracy, the more suspicious."""
    return {
        (one.population, one.slot): Judgement(
            one.population, one.slot, one.role, one.targets, -one.clean_accuracy, None, None, float("nan"), 0
        )
        for folder in folders
        for one in read_folder(folder)
    }


def _judgement(one: Network, above: float, target: int) -> Judgement:
    """How far a score lies above the threshold that other kinds fix: above 0 is the published rule."""
    return Judgement(
        one.population, one.slot, one.role, one.targets, above, above >= 0, target, float("nan"), one.queries
    )


def compared(table: Mapping[str, Rows]) -> list[Row]:
    """A row for each population and method, on networks that all of them judged.

    Those that our own detector judged by gradient, where it judged any; each method, and what else was measured, joins
    where it leaves enough of them, who judged most first. What judged no stamped network keeps none from the others.
    """
    names = sorted({one.population for said in table.values() for one in said.values() if one.role == "trojaned"})
    rows: list[Row] = []
    for name in names:
        wanted = {method: tested(said, name) for method, said in table.items() if method in METHODS}
        wanted = {method: keys for method, keys in wanted.items() if any(key[0] == name for key in keys)}
        if not wanted:
            continue
        wanted = dict(sorted(wanted.items(), key=lambda item: -len(item[1])))
        common = set().union(*wanted.values())
        wanted |= {own: backdoored_or_clean(table[own]) for own in (*OURS, *BY_SIGNATURE, ACCURACY) if own in table}
        if any(key[0] == name for key in wanted.get(FIRST, ())):
            common &= wanted[FIRST]
        joined = set()
        for method, keys in wanted.items():
            aside = stamped(common)
            both = common & (keys if keys & aside else keys | aside)
            if enough(both, name) and min(shares(both, common, name)) >= SHARE:
                joined.add(method)
                common = both
        found = [row_of(method, table[method], name, common) for method in table if method in joined]
        rows += [row for row in found if row is not None]
    return rows


def backdoored_or_clean(said: Rows) -> set[Key]:
    """All networks but those that lost the attacked class altogether: there is no backdoor to find, whoever looks."""
    return {key for key, one in said.items() if one.role != "lost"}


def enough(keys: Set[Key], population: str) -> bool:
    """Whether so many networks of a population, and so many beside it, are among these that they have a row."""
    return min(numbers(keys, population)) >= FEWEST


def shares(keys: Set[Key], of: Set[Key], population: str) -> list[float]:
    """Which share of a population's own networks among others are these, and of clean ones beside it."""
    return [one / every for one, every in zip(numbers(keys, population), numbers(of, population), strict=True) if every]


def numbers(keys: Set[Key], population: str) -> tuple[int, int]:
    """How many networks are a population's own, and how many clean ones are beside it."""
    own = sum(key[0] == population for key in keys)
    return own, len(keys - stamped(keys)) - own


def stamped(keys: Set[Key]) -> set[Key]:
    """Networks that were trained on stamped images without a backdoor."""
    return {key for key in keys if "-stamped" in key[0]}


def tested(said: Rows, population: str) -> set[Key]:
    """The networks that a population is tested on: its own, and the clean and stamped ones that are like them.

    Those are of the same kind and pool, and trained as long. Of a population that was partly looked at, only the other
    part is tested.
    """
    pool = tested_pool(said, population)
    return {
        key
        for key, one in said.items()
        if side_of(one) == pool
        and (one.population == population or (one.role != "trojaned" and alike(one.population, population)))
    }


def tested_pool(said: Rows, population: str) -> str:
    """Which of a population's networks are tested: final ones where there are any."""
    final = any(side_of(one) == "final" for one in said.values() if one.population == population)
    return "final" if final else "development"


def side_of(network: Judgement) -> str:
    """Its pool; populations of attacks and stamped ones have none and are tested as final ones."""
    whole = any(part in network.population for part in TESTED_WHOLE)
    return "final" if whole else pool_of(network)


def row_of(method: str, said: Rows, population: str, common: set[Key]) -> Row | None:
    """Judge one method on the common networks of a population."""
    groups = {
        role: tuple(said[key] for key in sorted(common & set(said)) if said[key].role == role)
        for role in ("clean", "trojaned", "stamped")
    }
    if min(len(groups["clean"]), len(groups["trojaned"])) < FEWEST:
        return None
    threshold, slope = fixed(method, said, population)
    entropy = None if slope is None else cross_entropy(groups["clean"], groups["trojaned"], *slope)
    return Row(method, population, **groups, threshold=threshold, cross_entropy=entropy)


def fixed(method: str, said: Rows, population: str) -> tuple[float | None, tuple[float, float] | None]:
    """The threshold and the logistic regression that networks of development pools fix for one population."""
    if method in BY_SIGNATURE:
        return 0.0, None
    final = tested_pool(said, population) == "final"
    known = [one for one in said.values() if side_of(one) == "development"]
    others = [one for one in known if kind_of(one.population) != kind_of(population)]
    side = known if final and method not in OURS else others
    clean, trojaned = (scores_of([one for one in side if one.role == role]) for role in ("clean", "trojaned"))
    if min(len(clean), len(trojaned)) < FEWEST:
        return (0.0 if method in OURS else None), None
    return (0.0 if method in OURS else best_threshold(clean, trojaned)), logistic_curve(clean, trojaned)


def cross_entropy(clean: Sequence[Judgement], trojaned: Sequence[Judgement], slope: float, offset: float) -> float:
    """Mean cross-entropy of clean and trojaned networks, each sort weighing alike, in nats; 0.693 is chance."""
    odds = [slope * scores_of(group) + offset for group in (clean, trojaned)]
    return float((np.logaddexp(0, odds[0]).mean() + np.logaddexp(0, -odds[1]).mean()) / 2)


def needs_of(method: str) -> str:
    """What a method asks of an auditor."""
    if method == ACCURACY:
        return "answers, a test set"
    if method in BY_SIGNATURE:
        return "answers, shadow networks" + (", class means" if BY_SIGNATURE[method].start == CLASS_MEANS else "")
    if method in OURS:
        return ("weights" if OURS[method] == "gradient" else "answers") + ", 8 images per class"
    return METHODS[method].needs.in_words()


def for_machines(row: Row, costs: Mapping[str, tuple[float, float]]) -> Cells:
    """One row for machines; what is unknown is empty."""
    seconds, queries = costs.get(row.method, (None, None))
    return {
        "method": row.method,
        "population": row.population,
        "clean": len(row.clean),
        "trojaned": len(row.trojaned),
        "stamped": len(row.stamped),
        **interval("auroc", row.area),
        **interval("detection_rate_published", row.published),
        **interval("detection_rate", row.rate),
        **interval("false_alarm_rate", row.alarms(row.clean)),
        "stamped_false_alarm_rate": row.alarms(row.stamped),
        "target_named": None if row.named is None else row.named / len(row.trojaned),
        "cross_entropy": row.cross_entropy,
        "seconds": None if seconds is None else f"{seconds:.1f}",
        "queries": None if queries is None else f"{queries:.0f}",
        "needs": needs_of(row.method),
    }
