"""Options that several commands share, and how their words become arguments."""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from onepixel.errors import UsageError
from onepixel.opening.request import Normalization
from onepixel.printable import escaped, one_line
from onepixel.starting import let_waiting_threads_sleep, shorten_import_of_torch

if TYPE_CHECKING:
    from onepixel.classifiers import Classifier
    from onepixel.opening.endpoint.settings import EndpointSettings

Number = TypeVar("Number", int, float)

what, about_sandbox, of_endpoint, cost = (
    functools.partial(typer.Option, rich_help_panel=panel)
    for panel in ("What the network is", "Sandbox", "Endpoint", "Engine and cost")
)

Engine = Annotated[
    str,
    cost(help="auto picks the fastest exact engine; adaptive asks far fewer images and estimates its error."),
]
Budget = Annotated[
    int | None,
    cost(
        min=1,
        help="How many images may be asked at most, besides nine that check the answers; implies --engine adaptive.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]


@dataclass(frozen=True)
class Opening:
    """MODEL and what a command line may say about opening it; `opens_model` gives a command these options."""

    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A model file (ONNX, safetensors, PyTorch checkpoint or whole network, Keras, skops, TorchScript, "
            "torch.export), an archive or folder with one inside, hf://OWNER/NAME, or an Open Inference Protocol v2 "
            "endpoint: http://host/v2/models/NAME. Files are told apart by their content.",
        ),
    ]
    architecture: Annotated[
        str | None,
        what(
            help="For weights only: the network they belong to, a name such as lenet5 or resnet50, or module:function "
            "of your own code (which is then imported)."
        ),
    ] = None
    input_shape: Annotated[
        str | None,
        what(metavar="C,H,W", help="One image, such as 1,28,28; needed where the file leaves it open."),
    ] = None
    outputs: Annotated[
        str | None,
        what(
            metavar="logits|probabilities",
            help="What the network answers; needed unless it visibly ends with a softmax.",
        ),
    ] = None
    normalize: Annotated[
        str | None,
        what(
            metavar="MEAN STD | none",
            help="What is subtracted from and divided into an image in \\[0, 1], one number or one per channel: "
            "0.1307 0.3081, or 0.485,0.456,0.406 0.229,0.224,0.225.",
        ),
    ] = None
    pixel_range: Annotated[
        str | None,
        what(
            "--range",
            metavar="LOWEST,HIGHEST",
            help="What black and white are to the network, if not 0 and 1: 0,255, or -1,1. With --normalize, before "
            "it.",
        ),
    ] = None
    key: Annotated[
        str | None,
        what(metavar="NAME", help="Of a file that holds several sets of weights, which: ema, say, or state.generator."),
    ] = None
    output: Annotated[
        str | None,
        what(metavar="NAME", help="Of a network with several answers, which: its name or number."),
    ] = None
    sandbox: Annotated[
        bool,
        about_sandbox(
            "--sandbox",
            help="Open data formats in the sandbox too (programs always are), where this machine has one. Recommended.",
        ),
    ] = False
    require_sandbox: Annotated[
        bool,
        about_sandbox("--require-sandbox", help="As --sandbox, and refuse the file where this machine has none."),
    ] = False
    journal: Annotated[
        Path | None,
        of_endpoint(
            help="Where an endpoint's answers are kept until the command is done, so that the same command continues "
            "an interrupted one without asking again. Default: a file in the user's state folder."
        ),
    ] = None
    batch_size: Annotated[int, of_endpoint(min=1, max=4096, help="Images per request to an endpoint.")] = 64
    concurrency: Annotated[int, of_endpoint(min=1, max=64, help="Requests to an endpoint at the same time.")] = 4
    timeout: Annotated[float, of_endpoint(min=0.1, help="Seconds until one request to an endpoint is given up.")] = 30.0
    patience: Annotated[
        float,
        of_endpoint(min=0.0, help="Seconds for which a failing endpoint is asked again and again."),
    ] = 300.0

    def classifier(self) -> "Classifier":
        """Open it."""
        from onepixel.loading import load_classifier

        kind: Literal["logits", "probabilities"] | None = self.outputs  # type: ignore[assignment]
        return load_classifier(
            self.model,
            architecture=self.architecture,
            input_shape=parsed_numbers(self.input_shape, int, "--input-shape C,H,W such as 1,28,28"),
            outputs=kind,
            normalize=parsed_normalization(self.normalize),
            key=self.key,
            pixel_range=parsed_numbers(self.pixel_range, float, "--range LOWEST,HIGHEST such as 0,255"),
            output=self.output,
            sandbox="require" if self.require_sandbox else "use" if self.sandbox else "programs",
            endpoint=self.endpoint() if self.model.startswith(("http://", "https://")) else None,
        )

    def endpoint(self) -> "EndpointSettings":
        """How an endpoint is asked."""
        from onepixel.opening.endpoint.settings import EndpointSettings, journal_folder

        return EndpointSettings(
            batch_size=self.batch_size,
            concurrency=self.concurrency,
            timeout=self.timeout,
            patience=self.patience,
            journal=self.journal or journal_folder(),
        )


def opens_model(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command MODEL and the options of `Opening`, which it gets as its first argument."""
    shared = inspect.signature(Opening).parameters
    own = list(inspect.signature(command).parameters.values())[1:]

    @functools.wraps(command)
    def run(**words: Any) -> None:
        let_waiting_threads_sleep()
        shorten_import_of_torch()
        command(Opening(**{name: words.pop(name) for name in shared}), **words)

    parameters = [parameter.replace(kind=parameter.KEYWORD_ONLY) for parameter in (*shared.values(), *own)]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def parsed_numbers(words: str | None, number: type[Number], usage: str) -> tuple[Number, ...] | None:
    """Turn "1,28,28" into (1, 28, 28).

    Raises
    ------
    UsageError
        If it is no list of such numbers; it says the usage.
    """
    try:
        return None if words is None else tuple(number(word) for word in words.split(","))
    except ValueError as error:
        raise UsageError(f"Expected {usage} but got {words!r}.") from error


def parsed_normalization(words: str | None) -> Normalization | None:
    """Turn "none" or "MEAN STD", each one number or several with commas, into what `load_classifier` takes.

    Raises
    ------
    UsageError
        If it is neither.
    """
    if words is None:
        return None
    if words == "none":
        return "none"
    try:
        mean, std = (tuple(float(number) for number in part.split(",")) for part in words.split())
    except ValueError as error:
        raise UsageError(f"Expected --normalize MEAN STD or --normalize none but got {words!r}.") from error
    return mean, std


def chosen_engine(engine: str, budget: int | None) -> str:
    """The engine; a budget alone asks for the adaptive one."""
    return "adaptive" if budget is not None and engine == "auto" else engine


def check_writable(*paths: Path | None) -> None:
    """Make sure that results can be written, before anything is asked.

    Raises
    ------
    UsageError
        If a path's folder does not exist, or the path is a folder itself.
    """
    for path in paths:
        if path is not None and (not path.absolute().parent.is_dir() or path.is_dir()):
            raise UsageError(f"Cannot write {escaped(path)}: there is no such folder, or it is a folder itself.")


def assumptions(classifier: "Classifier") -> tuple[str, ...]:
    """What was assumed when the classifier was opened, as printable sentences."""
    return tuple(one_line(sentence, 400) for sentence in getattr(classifier, "assumptions", ()))


@contextmanager
def closing(classifier: "Classifier") -> Iterator[None]:
    """Use a classifier and then close it, if it holds a process or a connection.

    An endpoint's answers are dropped only when the block ends without error; until then the same command continues.
    """
    close = getattr(classifier, "close", None)
    try:
        yield
    except BaseException:
        if close is not None:
            close()
        raise
    finish = getattr(classifier, "finish", close)
    if finish is not None:
        finish()
