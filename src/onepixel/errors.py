"""The errors that onepixel raises on purpose; each is one sentence and carries the exit status of the command line.

Exit statuses: 0 no evidence of a backdoor, 1 trojaned, 2 wrong usage, 3 could not decide, 4 internal error.
"""

INTERNAL_ERROR = 4
"""The exit status of what onepixel did not expect."""


class OnepixelError(Exception):
    """Base of every error raised on purpose; its text is one clear sentence for the user."""

    exit_status = INTERNAL_ERROR


class UsageError(OnepixelError, ValueError):
    """What was asked for makes no sense: an unknown name, a value out of range, a file that is not there."""

    exit_status = 2


class UndecidedError(OnepixelError):
    """The question was fine but no verdict can be given; the text is the reason."""

    exit_status = 3


class ModelFileError(UndecidedError):
    """A file is no model that onepixel can open safely."""


class InputShapeError(UndecidedError):
    """A classifier does not accept images of the given shape."""


class AnswerError(UndecidedError):
    """A classifier's answers cannot be used: the wrong shape, not finite, or no distribution."""


class OutputKindError(AnswerError):
    """Answers are plainly of the other kind: logits passed off as probabilities, or the reverse."""


class NondeterminismError(AnswerError):
    """A classifier answers the same image differently, beyond float tolerance."""


class BudgetError(UndecidedError):
    """A query budget was spent before the answer was known."""


class ExactnessError(OnepixelError):
    """A fast engine disagreed with the full forward pass; this is a bug in onepixel, never a verdict."""


class StoreError(UndecidedError):
    """A population's store is damaged or is not a store."""


class DetectorError(UndecidedError):
    """A detector cannot judge this signature: other settings, another shape, or a damaged file."""
