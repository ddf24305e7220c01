"""One look for every progress bar: what is being done, how far, how fast, how long still."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

Item = TypeVar("Item")

listener: ContextVar[Callable[[int], None] | None] = ContextVar("listener", default=None)
"""Set where somebody else shows the progress: it is then called with every number of units, and no bar is drawn."""


class RateColumn(ProgressColumn):
    """Units per second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        """Show the rate once there is one."""
        return Text(f"{task.speed:.1f} {self.unit}/s" if task.speed else f"- {self.unit}/s")


@contextmanager
def counted_by(listen: Callable[[int], None]) -> Iterator[None]:
    """Have `listen` called with every number of units meanwhile, instead of drawing bars."""
    token = listener.set(listen)
    try:
        yield
    finally:
        listener.reset(token)


@contextmanager
def progress_bar(label: str, total: int, unit: str, *, enabled: bool) -> Iterator[Callable[[int], None]]:
    """Yield a function that advances a bar on standard error by a number of units; silent unless enabled."""
    heard = listener.get()
    if heard is not None:
        yield heard
        return
    if not enabled:
        yield lambda count: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(unit),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=total)
        yield lambda count: bar.advance(task, count)


def tell(sentence: str) -> None:
    """Print a sentence on standard error, beside any progress bar."""
    Console(stderr=True).print(sentence, highlight=False)


def counted(items: Iterable[Item], name: str, total: int, unit: str, *, enabled: bool) -> Iterator[Item]:
    """Yield items as they come and count them with a progress bar."""
    with progress_bar(name, total, unit, enabled=enabled) as advance:
        for item in items:
            yield item
            advance(1)
