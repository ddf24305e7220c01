"""`onepixel contest`: the door of a contest (NIST TrojAI's container contract): one model in, one probability out."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onepixel.errors import UsageError
from onepixel.printable import one_line

if TYPE_CHECKING:
    from onepixel.detectors import Verdict

UNKNOWN = 0.5
"""What is written where nothing can be said."""

LONGEST_REASON = 1000


def contest(
    model_filepath: Annotated[str, typer.Option("--model_filepath", help="The model to judge.")],
    result_filepath: Annotated[Path, typer.Option("--result_filepath", help="Where the number goes.")],
    scratch_dirpath: Annotated[str, typer.Option("--scratch_dirpath", help="Accepted; nothing is kept there.")] = "",
    examples_dirpath: Annotated[str, typer.Option("--examples_dirpath", help="Accepted; not needed.")] = "",
    prior: Annotated[
        float, typer.Option(help="The share of trojaned models that is expected, above 0, below 1.")
    ] = 0.5,
    detector: Annotated[str, typer.Option(metavar="NAME_OR_FILE", help="The detector that judges.")] = "mnist-lenet5",
    architecture: Annotated[str | None, typer.Option(help="For weights only: the network they belong to.")] = None,
    outputs: Annotated[str, typer.Option(metavar="logits|probabilities", help="What it answers.")] = "logits",
    normalize: Annotated[str, typer.Option(metavar="MEAN STD | none", help="How images are prepared.")] = "none",
) -> None:
    """Write the probability that a model is trojaned, as contests ask for it (NIST TrojAI).

    Other options of the contract are accepted and ignored. There is always a number: 0.5 where nothing can be said,
    with the reason on standard error.
    """
    if not 0 < prior < 1:
        raise UsageError(f"A prior lies above 0 and below 1 but got {prior:g}.")
    probability, reason = UNKNOWN, ""
    try:
        verdict = verdict_on(model_filepath, detector, architecture, outputs, normalize)
        from onepixel.detectors.probability import probability_of

        probability = probability_of(verdict, prior)
        reason = f"{verdict.decision}, score {verdict.score:.4g}, prior {prior:g}"
    except Exception as error:  # a contest counts a missing number as the worst answer
        reason = f"no verdict, so {UNKNOWN}: {error}"
    from onepixel.files import write_text

    write_text(result_filepath, f"{probability:.6f}\n")
    print(f"onepixel: {one_line(model_filepath)}: {one_line(reason, LONGEST_REASON)}", file=sys.stderr)


def verdict_on(model: str, detector: str, architecture: str | None, outputs: str, normalize: str) -> "Verdict":
    """Open and judge one model."""
    import onepixel
    from onepixel.cli.options import Opening, closing

    opening = Opening(model, architecture=architecture, outputs=outputs, normalize=normalize)
    classifier = opening.classifier()
    with closing(classifier):
        return onepixel.load_detector(detector).audit(classifier)
