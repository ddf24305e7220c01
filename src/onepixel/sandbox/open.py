"""Opening a file in a sandbox: the strongest level that holds here, or what is done where none does."""

from typing import TYPE_CHECKING, Any

from onepixel.errors import ModelFileError
from onepixel.opening import open_file
from onepixel.opening.limits import Limits
from onepixel.opening.recognise import SANDBOX_ONLY
from onepixel.opening.refusals import ASK
from onepixel.opening.request import Request
from onepixel.printable import one_line
from onepixel.sandbox.confine import NotEnforcedError
from onepixel.sandbox.launch import Child
from onepixel.sandbox.level import LEVELS, missing
from onepixel.sandbox.protocol import ProtocolError

if TYPE_CHECKING:
    from onepixel.classifiers import Classifier


def open_sandboxed(request: Request, limits: Limits, *, required: bool) -> "Classifier":
    """Open a file in a child at the strongest level that this machine enforces.

    Parameters
    ----------
    request : Request
    limits : Limits
    required : bool
        Whether the file is refused where no level can be had; otherwise it is opened in this process and the
        classifier's assumptions say so.

    Raises
    ------
    ModelFileError
        If a sandbox is required and none can be had, or the file does not open within its limits.
    UndecidedError, UsageError
        As `load_classifier`.
    """
    reasons = []
    for level in LEVELS:
        reason = missing(level)
        if reason is None:
            running = Child(request, limits, level)
            try:
                return opened(running, request)
            except NotEnforcedError as error:
                reason = str(error)
        reasons.append(f"{level.name}: {reason}")
    why = "; ".join(dict.fromkeys(reasons))
    if request.format in SANDBOX_ONLY:
        raise ModelFileError(
            f"{request.name} is a {request.format.value}, which is opened in a sandbox only, and this machine has none "
            f"({why}). {ASK}"
        )
    if required:
        raise ModelFileError(f"{request.name} is to be opened in a sandbox only, and this machine has none ({why}).")
    classifier: Any = open_file(request, limits)
    classifier.assumptions = (*classifier.assumptions, f"No sandbox: this machine has none ({why}).")
    return classifier


def opened(running: Child, request: Request) -> "Classifier":
    """Wait until a child is locked down and has opened its file.

    Raises
    ------
    NotEnforcedError
        If its level does not hold.
    UndecidedError, UsageError
        What the child says about the file.
    """
    # Importing torch here takes as long as in the child; both do it at the same time.
    from onepixel.sandbox.classifier import SandboxedClassifier

    try:
        first = running.answer().about
    except ProtocolError as error:
        raise NotEnforcedError("the process did not start") from error
    if "enforced" not in first:
        running.close()
        raise NotEnforcedError(one_line(first.get("not_enforced", "")))
    try:
        return SandboxedClassifier(running, request)
    except BaseException:
        running.close()
        raise
