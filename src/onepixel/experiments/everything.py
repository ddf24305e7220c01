"""Every experiment whose populations are in the zoo, one after the other; no network is trained."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

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
from onepixel.experiments.candidates import usual_choice
from onepixel.experiments.fitting import shared_fits
from onepixel.experiments.models import MAIN, SIGNED, has
from onepixel.parallel import kept_workers
from onepixel.progress import progress_bar
from onepixel.threads import cores
from onepixel.trojan import Pool


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
        Names of the experiments that must have ended before: one that it reads a choice from, or shares fits with.
    """

    name: str
    run: Callable[[], object]
    after: tuple[str, ...] = ()


def sides(zoo: Path) -> list[tuple[str, str]]:
    """Prefixes (data set, architecture) and endings (default image) of which the zoo has clean and vaccine models.

    Default images that are not `MAIN` are for `attack_types` alone.
    """
    prefixes = sorted(folder.name.removesuffix("-vaccine") for folder in zoo.glob("*-vaccine"))
    return [
        (prefix, ending)
        for prefix in prefixes
        for ending in MAIN
        if has(zoo, f"{prefix}-clean{ending}") and has(zoo, f"{prefix}-vaccine{ending}")
    ]


def other_triggers(zoo: Path, prefix: str, pool: Pool, ending: str) -> list[str]:
    """Names of triggers, such as "garments", that viruses of this pool have besides the usual ones."""
    before, after = f"{prefix}-virus-", f"-{pool}{ending}"
    return sorted(folder.name[len(before) : -len(after)] for folder in zoo.glob(f"{before}*{after}"))


def steps(zoo: Path, results: Path, pool: Pool, effort: Effort, *, workers: int | None) -> Iterator[Step]:
    """Yield every experiment, those that others wait for first.

    Controls, sample size and sensitivity are not repeated from black, the papers' start, where the zoo has class means.
    """
    common = {"zoo": zoo, "workers": workers}
    choices = results / "detectors"
    found = sides(zoo)
    for prefix, ending in found:
        name = prefix + ending
        choice = usual_choice(name, choices)
        about = {"prefix": prefix, "ending": ending, **common}
        tested = {**about, "pool": pool, "choice": choice, "ledger": results / "openings.csv", "seeds": effort.seeds}
        curve = {**about, "choice": choice, "detectors": effort.detectors}
        moved = {**about, "choice": choice, "seeds": effort.seeds}
        chosen = f"detectors {name}"
        yield Step(chosen, _later(candidates.run, choices, repeats=effort.repeats, **about))
        for triggers in (None, *other_triggers(zoo, prefix, pool, ending)):
            yield Step(
                f"table2 {name}" + (f" {triggers}" if triggers else ""),
                _later(table2.run, results / "table2", triggers=triggers, **tested),
                (f"table2 {name}" if triggers else chosen,),
            )
        if ending == "" and (prefix, MAIN[1]) in found:
            continue
        for what, run, options, before in (
            ("controls", controls.run, tested, f"table2 {name}"),
            ("sensitivity", sensitivity.run, moved, f"controls {name}"),
            ("sample-size", sample_size.run, curve, chosen),
        ):
            yield Step(f"{what} {name}", _later(run, results / what, **options), (before,))
    tried = {"choices": choices, "seeds": effort.seeds, **common}
    for prefix in dict.fromkeys(prefix for prefix, ending in found if not ending):
        every = [prefix + ending for one, ending in found if one == prefix]
        yield Step(
            f"attacks {prefix}",
            _later(attack_types.run, results / "attack-types", prefix=prefix, **tried),
            (*(f"table2 {name}" for name in every), f"sensitivity {every[-1]}"),
        )
        yield Step(
            f"starts {prefix}",
            _later(starts.run, results / "starts", prefix=prefix, **tried),
            tuple(f"detectors {name}" for name in every),
        )
    compared = [ending for ending in SIGNED if len(table3.there(zoo, "mnist", ending=ending)) > 1]
    for ending in compared or [""]:
        yield Step(
            f"table3{ending}",
            _later(table3.run, results / "table3", ending=ending, **tried),
            tuple(f"detectors {prefix}{ending}" for prefix, ending in found if prefix == "mnist-lenet5"),
        )
    yield Step("table5", _later(table5.run, results / "table5", zoo=zoo))
    yield Step("table7", _later(table7.run, results / "table7", folders=[zoo]))
    yield Step("rounding", _later(rounding.run, results / "rounding"))


def _later(run: Callable[..., object], *arguments: object, **options: object) -> Callable[[], object]:
    return lambda: run(*arguments, **options)


def in_turn(steps: Sequence[Step], at_once: int) -> Iterator[str]:
    """Run every step when what it comes after has ended, some at once, and yield a line about each that has ended.

    So the last detector of one step, which takes a minute on one core, leaves no other core idle.
    """
    sorter = TopologicalSorter({step.name: step.after for step in steps})
    sorter.prepare()
    by_name = {step.name: step for step in steps}
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
