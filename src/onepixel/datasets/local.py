"""Where local copies of data sets are looked for, and where downloads go."""

import os
from pathlib import Path

DATA_VARIABLE = "ONEPIXEL_DATA"
"""Environment variable that names a folder in which data sets are looked for first."""


def data_folders() -> list[Path]:
    """Where local copies are looked for: $ONEPIXEL_DATA, ./data, and the user's cache."""
    named = os.environ.get(DATA_VARIABLE)
    return [*([Path(named)] if named else []), Path("data"), cache_folder()]


def cache_folder() -> Path:
    """Where downloads go: $XDG_CACHE_HOME/onepixel, or ~/.cache/onepixel."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "onepixel"


def found(*names: str) -> Path | None:
    """The first folder in which data sets are looked for that holds all these files or folders; None if none does."""
    return next((root for root in data_folders() if all((root / name).exists() for name in names)), None)
