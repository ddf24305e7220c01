"""`Table`: what one can add to onepixel, by name; each row stands in the file that it belongs to.

A folder such as `architectures` has one table. A file in it ends with `TABLE.add(row)`, and that is all there is to do:
commands, messages and documentation read the table. Nothing is imported before somebody asks for a row, so that a table
costs nothing at start; a row that is asked for by the name of its file costs the import of that one file.
"""

from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import Generic, Protocol, TypeVar

from onepixel.errors import UsageError


class Named(Protocol):
    """What a row must have."""

    @property
    def name(self) -> str:
        """What it is asked for by."""


Row = TypeVar("Row", bound=Named)


class Table(Generic[Row]):
    """Rows by name, filled by the files of one folder.

    Parameters
    ----------
    what : str
        What a row is, for messages: "architecture".
    folder : str
        The package whose modules add rows: "onepixel.architectures". Its own folders are not searched. Without one,
        the table holds what was added.
    besides : str
        What else may be asked for than a name, for messages.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Colour:
    ...     name: str
    ...     intensity: float
    >>> colours = Table[Colour]("colour")
    >>> colours.add(Colour("white", 1.0))
    Colour(name='white', intensity=1.0)
    >>> colours["white"].intensity
    1.0
    >>> colours["green"]
    Traceback (most recent call last):
        ...
    onepixel.errors.UsageError: Expected one of white for colour but got 'green'.
    """

    def __init__(self, what: str, folder: str = "", besides: str = "") -> None:
        self.what = what
        self.folder = folder
        self.besides = besides
        self._rows: dict[str, Row] = {}
        self._complete = not folder

    def add(self, row: Row) -> Row:
        """Put a row into the table, and return it.

        Raises
        ------
        ValueError
            If another row has its name.
        """
        if row.name in self._rows:
            raise ValueError(f"There are two rows named {row.name!r} in one table ({self.what}).")
        self._rows[row.name] = row
        return row

    def __getitem__(self, name: str) -> Row:
        """The row of that name.

        Raises
        ------
        UsageError
            If there is none; it says what there is.
        """
        if name not in self:
            besides = f", or {self.besides}," if self.besides else ""
            raise UsageError(f"Expected one of {', '.join(self)}{besides} for {self.what} but got {name!r}.")
        return self._rows[name]

    def __contains__(self, name: object) -> bool:
        if name in self._rows:
            return True
        self._read_file(name)
        if name not in self._rows:
            self._read_all()
        return name in self._rows

    def __iter__(self) -> Iterator[str]:
        """The names, in the order of the alphabet."""
        self._read_all()
        return iter(sorted(self._rows))

    def __len__(self) -> int:
        self._read_all()
        return len(self._rows)

    def rows(self) -> list[Row]:
        """Every row, in the order of the names."""
        return [self._rows[name] for name in self]

    def _read_file(self, name: object) -> None:
        if not self._complete and isinstance(name, str) and name.isidentifier() and not name.startswith("_"):
            path = f"{self.folder}.{name}"
            if find_spec(path) is not None:
                import_module(path)

    def _read_all(self) -> None:
        if self._complete:
            return
        self._complete = True  # before the files are read: one of them may look into the table itself
        try:
            package = import_module(self.folder)
            for module in iter_modules(getattr(package, "__path__", [])):
                import_module(f"{self.folder}.{module.name}")
        except BaseException:
            self._complete = False
            raise
