"""Options of experiments, and how they are said on the command line; nothing here computes, so that help is quick."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo


@dataclass(frozen=True)
class Said:
    """How an option is said on the command line, where its name and default do not tell.

    Attributes
    ----------
    flag : str, optional
        Such as "--row"; made of the field's name unless given.
    metavar : str, optional
        What stands for its value in the help.
    when_changed : bool
        The command that repeats a result tells it only where it is not the default.
    hidden : bool
        It can be given from Python alone.
    """

    flag: str | None = None
    metavar: str | None = None
    when_changed: bool = False
    hidden: bool = False

    @classmethod
    def of(cls, about: FieldInfo) -> "Said":
        """What a field's annotation says."""
        return next((word for word in about.metadata if isinstance(word, cls)), cls())


FOLDER = Said(metavar="FOLDER")
FILE = Said(metavar="FILE")
USUAL_FOLDER = Said(metavar="FOLDER", when_changed=True)
USUAL_FILE = Said(metavar="FILE", when_changed=True)
"""How places are said; those of records have a usual place, which needs not be told."""


class ExperimentOptions(BaseModel):
    """All that a result depends on, beside the populations; every field has its help as its description."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    @property
    def subject(self) -> str:
        """What the result is about; its files and its line in `all` are named by it."""
        return ""

    def told(self) -> dict[str, Any]:
        """The options that a command must say to repeat the result."""
        fields = type(self).model_fields
        return {
            name: value
            for name, about in fields.items()
            if (value := getattr(self, name)) not in (None, ())
            and not (said := Said.of(about)).hidden
            and not (value == about.default and (said.when_changed or isinstance(value, bool)))
        }

    def words(self) -> list[str]:
        """The same as a command line's words."""
        return [word for name, value in self.told().items() for word in self._words_of(name, value)]

    def _words_of(self, name: str, value: object) -> Iterator[str]:
        flag = flag_of(name, type(self).model_fields[name])
        if isinstance(value, bool):
            yield flag if value else flag.replace("--", "--no-", 1)
            return
        for one in value if isinstance(value, tuple) else [value]:
            yield f'{flag} "{one}"' if " " in str(one) else f"{flag} {one}"


def flag_of(name: str, about: FieldInfo) -> str:
    """What an option is called on the command line."""
    return Said.of(about).flag or "--" + name.replace("_", "-")
