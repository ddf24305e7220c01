"""How an endpoint is asked, and what goes wrong with one."""

import os
from dataclasses import dataclass
from pathlib import Path

from onepixel.errors import UndecidedError, UsageError


class EndpointError(UndecidedError):
    """An endpoint does not answer, or answers something else than the protocol says."""


@dataclass(frozen=True)
class EndpointSettings:
    """How an endpoint is asked.

    Attributes
    ----------
    batch_size : int
        Images per request.
    concurrency : int
        Requests at the same time.
    timeout : float
        Seconds until one request is given up.
    patience : float
        Seconds for which a failing endpoint is asked again, with growing pauses, before it is an error.
    journal : Path or None
        Where answers are kept, so that an interrupted audit continues without asking again: a file, or a folder, in
        which every endpoint, model and preparation then gets a file of its own. None keeps them in memory.
    """

    batch_size: int = 64
    concurrency: int = 4
    timeout: float = 30.0
    patience: float = 300.0
    journal: Path | None = None


def journal_folder() -> Path:
    """Where the command line keeps journals: in the user's state folder (XDG_STATE_HOME); it is made if need be.

    Raises
    ------
    UsageError
        If it cannot be made.
    """
    folder = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "onepixel"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"Cannot make the folder {folder} for a journal; name a file with --journal.") from error
    return folder
