"""`onepixel contest`: the door of a contest (NIST TrojAI's container contract): one model in, one probability out."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onepixel.errors import OnepixelError, OutputKindError, UndecidedError, UsageError
from onepixel.printable import one_line

if TYPE_CHECKING:
    from onepixel.classifiers import Classifier
    from onepixel.cli.options import Opening
    from onepixel.detectors import Verdict

UNKNOWN = 0.5
"""What is written where nothing can be said."""

LONGEST_REASON = 1000


def contest(
    model_filepath: Annotated[str, typer.Option("--model_filepath", help="The model to judge.")],
    result_filepath: Annotated[Path, typer.Option("--result_filepath", help="Where the number goes.")],
    scratch_dirpath: Annotated[str, typer.Option("--scratch_dirpath", help="Accepted; nothing is kept there.")] = "",
    examples_dirpath: Annotated[
        str, typer.Option("--examples_dirpath", help="Clean example images, by which the model is judged.")
    ] = "",
    prior: Annotated[
        float, typer.Option(help="The share of trojaned models that is expected, above 0, below 1.")
    ] = 0.5,
    detector: Annotated[
        str, typer.Option(metavar="NAME_OR_FILE", help="The detector that judges where no images can be used.")
    ] = "mnist-lenet5",
    architecture: Annotated[str | None, typer.Option(help="For weights only: the network they belong to.")] = None,
    outputs: Annotated[
        str, typer.Option(metavar="logits|probabilities", help="What it answers, unless it plainly answers otherwise.")
    ] = "logits",
    normalize: Annotated[str, typer.Option(metavar="MEAN STD | none", help="How images are prepared.")] = "none",
    search: Annotated[str, typer.Option(metavar="auto|composed|gradient", help="How changes are looked for.")] = "auto",
) -> None:
    """Write the probability that a model is trojaned, as contests ask for it (NIST TrojAI).

    With example images any network is judged by what drives them; without, a detector judges networks of its own kind.
    Other options of the contract are accepted and ignored. There is always a number: 0.5 where nothing can be said,
    with the reason on standard error. It is written first, so that one stands there even if the command is killed.
    """
    from onepixel.cli.options import Opening
    from onepixel.detectors.probability import checked_prior

    write(result_filepath, UNKNOWN)
    checked_prior(prior)
    opening = Opening(model_filepath, architecture=architecture, outputs=outputs, normalize=normalize)
    probability, reason = UNKNOWN, ""
    try:
        verdict = verdict_on(opening, examples_dirpath, detector, search).at_prior(prior)
        if verdict.probability is None:
            raise UndecidedError(f"{verdict.detector} has no scores of known models to tell a probability by.")
        probability = verdict.probability
        reason = f"{verdict.decision} by {verdict.method} detector, score {verdict.score:.4g}, prior {prior:g}"
    except Exception as error:  # a contest counts a missing number as the worst answer
        reason = f"no verdict, so {UNKNOWN}: {error or type(error).__name__}"
    write(result_filepath, probability)
    log(model_filepath, reason)


def write(path: Path, probability: float) -> None:
    """The number that a contest reads."""
    from onepixel.files import write_text

    write_text(path, f"{probability:.6f}\n")


def log(model: str, sentence: str) -> None:
    """One line on standard error."""
    print(f"onepixel: {one_line(model)}: {one_line(sentence, LONGEST_REASON)}", file=sys.stderr)


def verdict_on(opening: "Opening", examples: str, detector: str, search: str) -> "Verdict":
    """Judge one model by example images where they can be used, else by a detector of its kind.

    Raises
    ------
    OnepixelError
        If it cannot be opened, or neither way leads to a verdict.
    """
    from onepixel.detectors.auditing import audit

    with opened(opening, examples) as classifier:
        images = Path(examples) if examples else getattr(classifier, "examples", None)
        if images is not None:
            try:
                return audit(classifier, images, resize=True, search=search)
            except Exception as error:
                log(opening.model, f"the example images cannot be used: {error or type(error).__name__}")
        return audit(classifier, detector=detector)


@contextmanager
def opened(opening: "Opening", examples: str) -> Iterator["Classifier"]:
    """The classifier; what the file leaves open is what its example images and its answers show."""
    from onepixel.cli.options import closing

    classifier = first_that_opens(
        lambda: opening.classifier(),
        lambda: replace(opening, input_shape=shape_of_examples(examples)).classifier(),
        lambda: replace(opening, outputs="probabilities").classifier(),
        lambda: replace(opening, outputs="probabilities", input_shape=shape_of_examples(examples)).classifier(),
    )
    with closing(classifier):
        yield classifier


def first_that_opens(*ways: Callable[[], "Classifier"]) -> "Classifier":
    """What the first way gives that leads to a classifier; else the first way's own error is raised."""
    first: OnepixelError | None = None
    for way in ways:
        try:
            return way()
        except (UsageError, OutputKindError) as error:
            first = first or error
    raise first or AssertionError("there is no way")


def shape_of_examples(folder: str) -> str:
    """The shape of the first example image as `--input-shape` takes it.

    Raises
    ------
    UsageError
        If there is none.
    """
    from onepixel.opening.image_folder import shape_of_first

    return ",".join(map(str, shape_of_first(folder)))
