"""Every experiment whose populations are in the zoo, as many at once as there are cores; no network is trained."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from onepixel.errors import UsageError
from onepixel.experiments import (
    attack_types,
    candidates,
    controls,
    rounding,
    sample_size,
    sensitivity,
    starts,
    table2,
    table3,
    table5,
    table7,
)
from onepixel.experiments.fitting import shared_fits
from onepixel.experiments.models import MAIN, SIGNED, has
from onepixel.parallel import kept_workers
from onepixel.progress import progress_bar
from onepixel.threads import cores
from onepixel.trojan import Pool

Options = dict[str, Any]


@dataclass(frozen=True)
class Effort:
    """How often things are repeated with other seeds.

    Attributes
    ----------
    repeats : int
        Splits per candidate when the detector is chosen.
    seeds : int
        Detector seeds per row of a table.
    detectors : int
        Detectors per size in the sample-size curve.
    """

    repeats: int = 3
    seeds: int = 10
    detectors: int = 20


@dataclass(frozen=True)
class Step:
    """One experiment.

    Attributes
    ----------
    name : str
        With what it is about.
    run : callable
    after : tuple of str
        Names of those that must have ended before, if there are such: it reads a choice from them or shares fits.
    """

    name: str
    run: Callable[[], object]
    after: tuple[str, ...] = ()


def sides(zoo: Path) -> dict[str, list[str]]:
    """Endings (default images) by prefix (data set, architecture) of which the zoo has clean and vaccine models.

    Default images that are not `MAIN` are for `attack_types` and `starts` alone.
    """
    prefixes = sorted(folder.name.removesuffix("-vaccine") for folder in zoo.glob("*-vaccine"))
    kinds = ("clean", "vaccine")
    found = {
        prefix: [ending for ending in MAIN if all(has(zoo, f"{prefix}-{kind}{ending}") for kind in kinds)]
        for prefix in prefixes
    }
    return {prefix: endings for prefix, endings in found.items() if endings}


def other_triggers(zoo: Path, prefix: str, pool: Pool, ending: str) -> list[str]:
    """Names of triggers, such as "garments", that viruses of this pool have besides the usual ones."""
    before, after = f"{prefix}-virus-", f"-{pool}{ending}"
    return sorted(folder.name[len(before) : -len(after)] for folder in zoo.glob(f"{before}*{after}"))


def steps(zoo: Path, results: Path, pool: Pool, effort: Effort, *, workers: int | None) -> Iterator[Step]:
    """Yield every experiment.

    The detector is chosen from class means, where the zoo has them, and used from black, the papers' start, too; only
    Table 2, attacks and starts are repeated from there.
    """
    common: Options = {"zoo": zoo, "workers": workers}
    repeated: Options = {"seeds": effort.seeds, **common}
    tested: Options = {"pool": pool, "ledger": results / "openings.csv", **repeated}
    choices = results / "detectors"
    found = sides(zoo)
    for prefix, endings in found.items():
        main = prefix + endings[-1]
        choosing, controlling, moving = f"detectors {main}", f"controls {main}", f"sensitivity {main}"
        about: Options = {"prefix": prefix, "ending": endings[-1]}
        chosen: Options = {"prefix": prefix, "choice": choices / f"{main}.csv"}
        both: Options = about | chosen
        compare = partial(candidates.run, choices, repeats=effort.repeats, **about, **common)
        yield Step(choosing, compare)
        for ending in endings:
            name = f"table2 {prefix}{ending}"
            table = partial(table2.run, results / "table2", ending=ending, **chosen, **tested)
            yield Step(name, table, (choosing,))
            for triggers in other_triggers(zoo, prefix, pool, ending):
                yield Step(f"{name} {triggers}", partial(table, triggers=triggers), (name,))
        yield Step(controlling, partial(controls.run, results / "controls", **both, **tested), (f"table2 {main}",))
        yield Step(moving, partial(sensitivity.run, results / "sensitivity", **both, **repeated), (controlling,))
        curve = partial(sample_size.run, results / "sample-size", detectors=effort.detectors, **both, **common)
        yield Step(f"sample-size {main}", curve, (choosing,))
        if "" in endings:
            attacks = partial(attack_types.run, results / "attack-types", **chosen, **repeated)
            yield Step(f"attacks {prefix}", attacks, (f"table2 {prefix}", moving))
            yield Step(f"starts {prefix}", partial(starts.run, results / "starts", **chosen, **repeated), (choosing,))
    lenet = f"mnist-lenet5{found.get('mnist-lenet5', [''])[-1]}"
    compared = [ending for ending in SIGNED if len(table3.there(zoo, "mnist", ending=ending)) > 1]
    for ending in compared or [""]:
        across: Options = {"ending": ending, "choice": choices / f"{lenet}.csv", **repeated}
        yield Step(f"table3{ending}", partial(table3.run, results / "table3", **across), (f"detectors {lenet}",))
    yield Step("table5", partial(table5.run, results / "table5", zoo=zoo))
    yield Step("table7", partial(table7.run, results / "table7", folders=[zoo]))
    yield Step("rounding", partial(rounding.run, results / "rounding"))


def in_turn(steps: Sequence[Step], at_once: int) -> Iterator[str]:
    """Run every step when what it comes after has ended, some at once, and yield a line about each that has ended.

    So the last detector of one step, which takes a minute on one core, leaves no other core idle.
    """
    by_name = {step.name: step for step in steps}
    sorter = TopologicalSorter({step.name: by_name.keys() & step.after for step in steps})
    sorter.prepare()
    running: dict[Future[str], str] = {}
    with ThreadPoolExecutor(at_once) as pool:
        try:
            while sorter.is_active():
                running |= {pool.submit(_line_about, by_name[name]): name for name in sorter.get_ready()}
                ended, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    yield future.result()
                    sorter.done(running.pop(future))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _line_about(step: Step) -> str:
    """Run a step and say in one line how that went."""
    started = time.perf_counter()
    try:
        step.run()
    except UsageError as error:
        return f"{step.name}: left out. {error}"
    return f"{step.name}: done in {time.perf_counter() - started:.0f} s"


def run(
    results: Path,
    *,
    zoo: Path = Path("zoo"),
    pool: Pool = "development",
    effort: Effort = Effort(),
    workers: int | None = None,
    progress: bool = False,
    say: Callable[[str], None] = print,
) -> None:
    """Run every experiment whose populations are in the zoo and say a line about each.

    Parameters
    ----------
    results : Path
        The folder whose tables are written anew.
    zoo : Path
    pool : {"development", "final"}
        Which viruses test in table 2 and the controls.
    effort : Effort
    workers : int, optional
        Processes, and as many experiments at once; one per core unless said.
    progress : bool
        Show a progress bar on standard error too.
    say : callable
        Called with each line.
    """
    todo = list(steps(zoo, results, pool, effort, workers=workers))
    bar = progress_bar("experiments", len(todo), "experiments", enabled=progress)
    with shared_fits(), kept_workers(workers), bar as advance:
        for line in in_turn(todo, workers or cores()):
            say(line)
            advance(1)
