"""Every experiment whose populations are in the zoo, several at once; no network is trained."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from onepixel.errors import UsageError
from onepixel.experiments import registry
from onepixel.experiments.declared import Experiment, ExperimentOptions, Laboratory
from onepixel.experiments.fitting import shared_fits
from onepixel.experiments.whole import Effort, Whole
from onepixel.parallel import kept_workers, urgency
from onepixel.populations.models import each_read_once
from onepixel.progress import progress_bar
from onepixel.threads import cores, one_thread
from onepixel.trojan import Pool

STEPS_PER_WORKER = 2
"""Steps at once for each process: where one waits for its last detector, the processes have those of others to do."""


@dataclass(frozen=True)
class Step:
    """One experiment with what it is about, and what runs it.

    It begins after those of other names, if there are such: it reads a choice from them, or shares fits with them.
    """

    name: str
    run: Callable[[], object]
    after: tuple[str, ...] = ()


Planned = tuple[Experiment[Any, Any], ExperimentOptions]


def steps(whole: Whole, laboratory: Laboratory) -> list[Step]:
    """Every repetition of every experiment, each after those that its declaration names."""
    declared = [entry.load() for entry in registry.entries().values()]
    planned = [(experiment, options) for experiment in declared for options in experiment.plan(whole)]
    return [
        Step(
            _label(experiment, options),
            partial(experiment.perform, options, whole.results / experiment.folder, laboratory),
            tuple(
                _label(*other)
                for place, other in enumerate(planned)
                if _goes_before(other, (experiment, options)) and (other[0] is not experiment or place < number)
            ),
        )
        for number, (experiment, options) in enumerate(planned)
    ]


def _label(experiment: Experiment[Any, Any], options: ExperimentOptions) -> str:
    return f"{experiment.name} {options.subject}".strip()


def _goes_before(first: Planned, second: Planned) -> bool:
    """Whether the second one waits for the first; of the same experiment, the order of the plan decides."""
    agreeing = second[0].after.get(first[0].name)
    return agreeing is not None and all(
        getattr(first[1], name, None) == getattr(second[1], name, None) for name in agreeing
    )


def in_turn(steps: Sequence[Step], at_once: int) -> Iterator[str]:
    """Run every step when what it comes after has ended, some at once, and yield a line about each that has ended.

    Those that most others wait for begin first, and their jobs are done first. So the last detector of one step, which
    takes a minute on one core, leaves no other core idle, and what can be done at any time is left for the end.
    """
    by_name = {step.name: step for step in steps}
    before = {step.name: by_name.keys() & step.after for step in steps}
    urgencies = {name: len(_waiting_for(name, before)) for name in by_name}
    sorter = TopologicalSorter(before)
    sorter.prepare()
    waiting: list[str] = []
    running: dict[Future[str], str] = {}
    with ThreadPoolExecutor(at_once) as pool:
        try:
            while sorter.is_active():
                waiting = sorted([*waiting, *sorter.get_ready()], key=lambda name: -urgencies[name])
                while waiting and len(running) < at_once:
                    name = waiting.pop(0)
                    running[pool.submit(_line_about, by_name[name], urgencies[name])] = name
                ended, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    yield future.result()
                    sorter.done(running.pop(future))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _waiting_for(name: str, before: Mapping[str, AbstractSet[str]]) -> set[str]:
    """The steps that wait for one, and for those that wait for it."""
    next_ones = {other for other, names in before.items() if name in names}
    return next_ones.union(*(_waiting_for(other, before) for other in next_ones))


def _line_about(step: Step, urgent: int) -> str:
    """Run a step, which is so urgent, and say in one line how that went."""
    urgency.set(urgent)
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
    effort: Effort = Effort(),  # noqa: B008 (frozen)
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
        Processes; one per core unless said. Twice as many experiments run at once.
    progress : bool
        Show a progress bar on standard error too.
    say : callable
        Called with each line.
    """
    laboratory = Laboratory(zoo, workers, ledger=results / "openings.csv")
    todo = steps(Whole(zoo, results, pool, effort), laboratory)
    bar = progress_bar("experiments", len(todo), "experiments", enabled=progress)
    with shared_fits(), each_read_once(), one_thread(), kept_workers(workers), bar as advance:
        for line in in_turn(todo, STEPS_PER_WORKER * (workers or cores())):
            say(line)
            advance(1)
