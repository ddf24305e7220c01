"""What a network's answers are: read from its last operation where that tells, else as the user said."""

from collections.abc import Sequence

from onepixel.classifiers.base import Outputs
from onepixel.errors import AnswerError, UsageError

PROBABILITY_OPERATIONS = {"softmax", "_softmax"}
LOG_PROBABILITY_OPERATIONS = {"log_softmax", "_log_softmax", "logsoftmax"}
PER_CLASS_OPERATIONS = {"sigmoid", "hardsigmoid", "hard_sigmoid"}
RANKING_OPERATIONS = {"topk", "argmax", "sort", "zipmap"}


def settle_outputs(asked: Outputs | None, last_operation: str, name: str) -> tuple[Outputs, str]:
    """Say what the answers are, and the sentence for the verdict.

    Parameters
    ----------
    asked : {"logits", "probabilities"} or None
        What the user said.
    last_operation : str
        The operation that makes the network's answers, or "" where it cannot be seen.
    name : str
        For people.

    Raises
    ------
    UsageError
        If neither the network nor the user says it, or they disagree.
    AnswerError
        If the answers are no distribution over the classes: one sigmoid each, a ranking, a label.
    """
    operation = last_operation.lower()
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


def require_single_answer(answers: Sequence[object], name: str) -> None:
    """Refuse networks that answer with several tensors.

    Raises
    ------
    AnswerError
        If there is not exactly one.
    """
    if len(answers) != 1:
        raise AnswerError(
            f"{name} answers with {len(answers)} tensors (labels, top-k, detections?); "
            "onepixel needs one tensor (N, K) with one distribution per image."
        )
