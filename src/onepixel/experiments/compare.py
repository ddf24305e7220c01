"""Compared methods and the project's own detector on the very same networks, with the same rules for thresholds.

Everything is made from records of single networks (`onepixel.experiments.method_records`), the project's own from those
of `onepixel experiment any-classifier`. Which networks are compared is told by `comparison_networks`, how a method did
on them by `comparison_rows`.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from onepixel.experiments.comparison_networks import Key
from onepixel.experiments.comparison_page import Found, as_markdown
from onepixel.experiments.comparison_rows import Row, compared
from onepixel.experiments.declared import Cells, Experiment, Laboratory, Result, Said, interval
from onepixel.experiments.leaving_out import alike_in_sizes, calibrated_for, seen_networks
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
from onepixel.experiments.reach_records import Network, measure_store, read_folder
from onepixel.experiments.signature_records import BY_SIGNATURE, judge_by_signatures
from onepixel.experiments.validate import TABLE, validated
from onepixel.methods import METHODS
from onepixel.populations.catalogue import known_name
from onepixel.populations.names import CLASS_MEANS
from onepixel.populations.store import Store


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
        if not any(one.role == "clean" and one.kind != kind for one in known):
            continue
        for own, others in alike_in_sizes([one for one in networks if one.kind == kind], known):
            calibration = calibrated_for(kind, others)
            for one in own:
                score, part = calibration.score(one.counted)
                found[one.population, one.slot] = _judgement(one, score - calibration.threshold, one.target_of(part))
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
