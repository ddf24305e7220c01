"""What a network's answers are: read from its last operation where that tells, else as the user said."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from onepixel.classifiers.base import Outputs, probe_images, to_log_odds
from onepixel.errors import AnswerError, UsageError
from onepixel.printable import one_line

HARDLY = 0.01
"""Below this difference in probability between black, white and noise, a verdict says that there hardly is one."""
PROBABILITY_OPERATIONS = {"softmax", "_softmax"}
LOG_PROBABILITY_OPERATIONS = {"log_softmax", "_log_softmax", "logsoftmax"}
PER_CLASS_OPERATIONS = {"sigmoid", "hardsigmoid", "hard_sigmoid"}
RANKING_OPERATIONS = {"topk", "argmax", "sort", "zipmap"}


def settle_outputs(
    asked: Outputs | None, last_operation: str, name: str, width: int | None = None
) -> tuple[Outputs, str]:
    """Say what the answers are, and the sentence for the verdict.

    Parameters
    ----------
    asked : {"logits", "probabilities"} or None
        What the user said.
    last_operation : str
        The operation that makes the network's answers, or "" where it cannot be seen.
    name : str
        For people.
    width : int, optional
        How many numbers an image is answered with, where that is known. A single one becomes two classes.

    Raises
    ------
    UsageError
        If neither the network nor the user says it, or they disagree.
    AnswerError
        If the answers are no distribution over the classes: one sigmoid each, a ranking, a label.
    """
    operation = last_operation.lower()
    if width == 1 and operation in PER_CLASS_OPERATIONS:
        if asked == "logits":
            raise UsageError(f"{name} ends with {last_operation}, so it answers probabilities, not logits.")
        return "probabilities", f"The network's one {last_operation} unit p became two classes, 1 - p and p."
    if width == 1 and asked == "logits":
        return "logits", "The network's single number z became the logits of two classes, 0 and z, as you said."
    if operation in PER_CLASS_OPERATIONS:
        raise AnswerError(
            f"{name} ends with {last_operation}, one independent number per class (multi-label or two-class); "
            "a one-pixel signature needs one distribution over all K classes."
        )
    if operation in RANKING_OPERATIONS:
        raise AnswerError(
            f"{name} ends with {last_operation}, a ranking or a label, not a distribution over K classes."
        )
    visible = visible_outputs(operation)
    if visible is None and asked is None:
        raise UsageError(
            f"{name} does not show whether it answers logits or probabilities (no final softmax is visible); "
            'say --outputs logits or --outputs probabilities (outputs="...").'
        )
    if visible is not None and asked is not None and asked != visible:
        raise UsageError(f"{name} ends with {last_operation}, so it answers {visible}, not {asked}.")
    if visible is not None:
        return visible, f"Answers are {visible}: the network ends with {last_operation}."
    assert asked is not None
    return asked, f"Answers are {asked}, as you said."


def visible_outputs(operation: str) -> Outputs | None:
    """What an operation's results are; None where it does not tell. Log-probabilities are valid logits."""
    if operation in PROBABILITY_OPERATIONS:
        return "probabilities"
    return "logits" if operation in LOG_PROBABILITY_OPERATIONS else None


def two_classes(answers: Any, outputs: Outputs) -> Any:
    """Answers (N, 1) or (N,) of a single unit, NumPy's or torch's, as those of two classes (N, 2)."""
    one = answers.reshape(-1, 1)
    other = 1 - one if outputs == "probabilities" else 0 * one
    if isinstance(one, torch.Tensor):
        return torch.cat([other, one], dim=1)
    return np.concatenate([other, one], axis=1)


def is_single(shape: Sequence[int], images: int) -> bool:
    """Whether answers of this shape to so many images are one number each."""
    return tuple(shape) in ((images, 1), (images,))


def dependence_notes(classifier: Any) -> tuple[str, ...]:
    """A sentence for the verdict where black, white and noise get nearly the same answer."""
    images = probe_images(classifier.input_shape, classifier.dtype, classifier.device)
    odds = to_log_odds(classifier(images), classifier.outputs).double()
    spread = float((odds.sigmoid().amax(dim=0) - odds.sigmoid().amin(dim=0)).max())
    if spread >= HARDLY:
        return ()
    return (
        f"The answers hardly depend on the image: black, white and noise differ by {spread:.2g} at most. "
        "If the network expects other intensities, say --range (0,255 or -1,1, say).",
    )


def choose_answer(names: Sequence[str], numbers: Sequence[bool], asked: str | None, name: str) -> tuple[int, str]:
    """Which of a network's answers is the distribution, and a sentence for the verdict where there are several.

    Parameters
    ----------
    names : sequence of str
    numbers : sequence of bool
        Whether each is made of numbers with fractions; labels are not.
    asked : str or None
        A name, or a number from 0 on.
    name : str
        The file, for people.

    Raises
    ------
    UsageError
        If there are several, or none of the name that the user said.
    """
    shown = ", ".join(one_line(each, 40) or "without a name" for each in names[:8])
    if asked is not None:
        number = names.index(asked) if asked in names else int(asked) if asked.isdecimal() else len(names)
        if number >= len(names):
            raise UsageError(f"{name} has no answer {one_line(asked, 40)!r}; it gives {shown}.")
        return number, "" if len(names) == 1 else f"Of the network's answers ({shown}), {asked} is read, as you said."
    telling = [number for number, fractions in enumerate(numbers) if fractions]
    if len(names) == 1:
        return 0, ""
    if len(telling) == 1:
        return telling[
            0
        ], f"Of the network's answers ({shown}), {one_line(names[telling[0]], 40)} is read: the others are labels."
    raise UsageError(f"{name} answers with {len(names)} tensors ({shown}); say which with --output NAME.")
