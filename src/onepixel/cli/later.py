"""Commands that are imported when one of them is used, so that the list of all of them comes at once."""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


@dataclass(frozen=True)
class Later:
    """A command that has not been imported.

    Attributes
    ----------
    module : str
        Where it is.
    name : str
        What it is called there: a function, or the typer application of a group of commands.
    summary : str
        The first sentence of its help, which the list shows.
    settings : mapping of str to object
        Of its context, as click takes them.
    """

    module: str
    name: str
    summary: str
    settings: dict[str, Any] = field(default_factory=dict)

    def load(self, called: str) -> Any:
        """Import it; `called` is its word on the command line."""
        found = getattr(import_module(self.module), self.name)
        grouped = isinstance(found, typer.Typer)
        command: Any = typer.main.get_group(found) if grouped else as_command(found, **self.settings)
        command.name = called
        return command


def as_command(function: Callable[..., None], **settings: Any) -> Any:
    """What typer makes of a single function."""
    single = typer.Typer(add_completion=False, rich_markup_mode="rich")
    single.command(context_settings=settings)(function)
    return typer.main.get_command(single)


def group_of(commands: dict[str, Later]) -> type[TyperGroup]:
    """A class of groups that hold these commands."""

    class Commands(TyperGroup):
        """A group that lists its commands by their summaries."""

        listing = False

        def __init__(self, **said: Any) -> None:
            super().__init__(**said)
            self.commands = {name: TyperCommand(name, help=later.summary) for name, later in commands.items()}

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            """The command of that name, if there is one."""
            if self.listing or cmd_name not in commands:
                return super().get_command(ctx, cmd_name)
            return commands[cmd_name].load(cmd_name)

        def format_help(self, ctx: Any, formatter: Any) -> None:
            """Write the help; no command is imported for it."""
            self.listing = True
            try:
                super().format_help(ctx, formatter)
            finally:
                self.listing = False

    return Commands
