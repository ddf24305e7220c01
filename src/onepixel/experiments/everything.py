"""Every experiment whose populations are in the zoo, one after the other; no network is trained."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
    """One experiment: its name with what it is about, and how it is run."""

    name: str
    run: Callable[[], object]


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


def steps(
    zoo: Path, results: Path, pool: Pool, effort: Effort, *, workers: int | None, progress: bool
) -> Iterator[Step]:
    """Yield every experiment in an order in which each finds what it needs.

    Controls, sample size and sensitivity are not repeated from black, the papers' start, where the zoo has class means.
    """
    common = {"zoo": zoo, "workers": workers, "progress": progress}
    choices = results / "detectors"
    found = sides(zoo)
    for prefix, ending in found:
        name = prefix + ending
        choice = usual_choice(name, choices)
        about = {"prefix": prefix, "ending": ending, **common}
        tested = {**about, "pool": pool, "choice": choice, "ledger": results / "openings.csv", "seeds": effort.seeds}
        curve = {**about, "choice": choice, "detectors": effort.detectors}
        moved = {**about, "choice": choice, "seeds": effort.seeds}
        yield Step(f"detectors {name}", _later(candidates.run, choices, repeats=effort.repeats, **about))
        for triggers in (None, *other_triggers(zoo, prefix, pool, ending)):
            yield Step(
                f"table2 {name}" + (f" {triggers}" if triggers else ""),
                _later(table2.run, results / "table2", triggers=triggers, **tested),
            )
        if ending == "" and (prefix, MAIN[1]) in found:
            continue
        yield Step(f"controls {name}", _later(controls.run, results / "controls", **tested))
        yield Step(f"sample-size {name}", _later(sample_size.run, results / "sample-size", **curve))
        yield Step(f"sensitivity {name}", _later(sensitivity.run, results / "sensitivity", **moved))
    chosen = {"choices": choices, "seeds": effort.seeds, **common}
    for prefix in dict.fromkeys(prefix for prefix, ending in found if not ending):
        yield Step(f"attacks {prefix}", _later(attack_types.run, results / "attack-types", prefix=prefix, **chosen))
        yield Step(f"starts {prefix}", _later(starts.run, results / "starts", prefix=prefix, **chosen))
    compared = [ending for ending in SIGNED if len(table3.there(zoo, "mnist", ending=ending)) > 1]
    for ending in compared or [""]:
        yield Step(f"table3{ending}", _later(table3.run, results / "table3", ending=ending, **chosen))
    yield Step("table5", _later(table5.run, results / "table5", zoo=zoo))
    yield Step("table7", _later(table7.run, results / "table7", folders=[zoo]))
    yield Step("rounding", _later(rounding.run, results / "rounding"))


def _later(run: Callable[..., object], *arguments: object, **options: object) -> Callable[[], object]:
    return lambda: run(*arguments, **options)


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
        Processes; one per core unless said.
    progress : bool
        Show progress bars on standard error too.
    say : callable
        Called with each line.
    """
    with shared_fits(), kept_workers(workers):
        for step in steps(zoo, results, pool, effort, workers=workers, progress=progress):
            started = time.perf_counter()
            try:
                step.run()
            except UsageError as error:
                say(f"{step.name}: left out. {error}")
            else:
                say(f"{step.name}: done in {time.perf_counter() - started:.0f} s")
