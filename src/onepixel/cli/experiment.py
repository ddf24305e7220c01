"""`onepixel experiment`: repeat a table or a figure of the papers. Every command is made from its declaration."""

import inspect
from pathlib import Path
from types import GenericAlias
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer
from typer.core import TyperCommand, TyperGroup

from onepixel.cli.later import as_command
from onepixel.experiments import registry

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

Zoo = Annotated[
    Path, typer.Option(envvar="ONEPIXEL_ZOO", metavar="FOLDER", help="The zoo: populations without their weights.")
]
FromZoo = Annotated[
    bool, typer.Option("--from-zoo", help="Train no network, read the populations of the zoo. Always so here.")
]
WorkerCount = Annotated[int | None, typer.Option(min=1, help="Processes; one per core unless said otherwise.")]


class ExperimentCommand(TyperCommand):
    """The command of one experiment, which is imported when it runs."""

    def __init__(self, entry: registry.Entry) -> None:
        super().__init__(entry.name, help=entry.summary, rich_markup_mode="rich")
        self.entry = entry

    def get_params(self, ctx: Any) -> list[Any]:
        """Every option."""
        if self.callback is None:
            made = made_command(self.entry)
            self.params, self.callback = made.params, made.callback
        return super().get_params(ctx)


class Experiments(TyperGroup):
    """The commands of all experiments that are declared, and of those that this module has itself."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names."""
        return [*registry.entries(), *super().list_commands(ctx)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, if there is one."""
        entry = registry.entries().get(cmd_name)
        return super().get_command(ctx, cmd_name) if entry is None else ExperimentCommand(entry)


app = typer.Typer(
    cls=Experiments, no_args_is_help=True, rich_markup_mode="rich", help="Repeat a table or a figure of the papers."
)


def made_command(entry: registry.Entry) -> Any:
    """The command of one experiment: its options, and where it reads and writes."""
    fields = entry.fields()

    def command(output: Path, **words: Any) -> None:
        from onepixel.experiments.declared import Laboratory
        from onepixel.populations.models import commands_for

        experiment = entry.load()
        places = {name: words.pop(name) for name in ("zoo", "workers") if name in words}
        said = {name: value for name, value in words.items() if name in fields and value is not None}
        laboratory = Laboratory(progress=True, **places)
        result = experiment.perform(experiment.checked(**said), output, laboratory)
        for name in result.missing:
            typer.echo(f"{name} is missing: {' && '.join(commands_for(laboratory.zoo, name))}", err=True)
        for line in result.said:
            typer.echo(line)
        typer.echo(f"{output}")

    where = typer.Option(metavar="FOLDER", help="Where the results are written.")
    parameters = [_parameter("output", Annotated[Path, where], Path("results") / entry.folder)]
    parameters += [made for name, about in fields.items() if (made := _option(name, about)) is not None]
    if entry.reads_zoo:
        parameters.append(_parameter("zoo", Zoo, Path("zoo")))
        if "from_zoo" not in fields:
            parameters.append(_parameter("from_zoo", FromZoo, True))
    if entry.workers:
        parameters.append(_parameter("workers", WorkerCount, None))
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return as_command(command)


def _parameter(name: str, annotation: Any, default: object) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _option(name: str, about: "FieldInfo") -> inspect.Parameter | None:
    """A field as an option of the command line; None for one that can be given from Python alone."""
    from onepixel.experiments.option import Said, flag_of

    said = Said.of(about)
    if said.hidden:
        return None
    kind: Any = about.annotation
    default = about.default
    flag = flag_of(name, about)
    if isinstance(default, tuple):
        kind, default = GenericAlias(list, get_args(kind)[:1]) | None, None
    if kind is bool:
        flag = f"{flag}/--no-{flag[2:]}" if default else flag
    least = next((limit.ge for limit in about.metadata if hasattr(limit, "ge")), None)
    option = typer.Option(flag, help=about.description, metavar=said.metavar, min=least)
    return _parameter(name, Annotated[kind, option], default)


@app.command("all")
def everything(
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the results are written.")] = Path("results"),
    zoo: Zoo = Path("zoo"),
    from_zoo: FromZoo = True,
    pool: Annotated[
        Literal["development", "final"],
        typer.Option(help="Which viruses are the test. Opening the final pool is written down in OUTPUT/openings.csv."),
    ] = "development",
    repeats: Annotated[int, typer.Option(min=1, help="Splits per candidate when a detector is chosen.")] = 1,
    seeds: Annotated[int, typer.Option(min=1, help="How many detector seeds.")] = 1,
    detectors: Annotated[int, typer.Option(min=1, help="Detectors per size in the sample-size curve.")] = 1,
    workers: WorkerCount = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")] = False,
) -> None:
    """Repeat every experiment whose populations are in the zoo, with few seeds each; a line about each."""
    from onepixel.experiments.everything import run
    from onepixel.experiments.whole import Effort

    effort = Effort(repeats, seeds, detectors)
    run(output, zoo=zoo, pool=pool, effort=effort, workers=workers, progress=not quiet, say=typer.echo)
