"""What became of one model in an audit: a verdict, or the reason why there is none."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onepixel.printable import escaped

BLOCK = 2**20


@dataclass(frozen=True)
class Outcome:
    """One model and what was found.

    Attributes
    ----------
    model : str
        The file, folder or URL as it was named.
    exit_status : int
        0 no evidence of a backdoor, 1 trojaned, 2 wrong usage, 3 could not decide, 4 internal error.
    verdict : dict or None
        `Verdict.to_dict()`; None where there is none.
    reason : str
        Why there is no verdict.
    sha256 : str or None
        Of the file's bytes; None for what is no file.
    seconds : float
        Wall time.
    """

    model: str
    exit_status: int
    verdict: dict[str, Any] | None = field(default=None, repr=False)
    reason: str = ""
    sha256: str | None = None
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """The model's name, fit to be shown."""
        return escaped(self.model)

    @property
    def trojaned(self) -> bool:
        """Whether the model was called trojaned."""
        return self.verdict is not None and self.verdict["decision"] == "trojaned"

    @property
    def decision(self) -> str:
        """The decision, or that there is none."""
        return str(self.verdict["decision"]) if self.verdict is not None else "could not decide"

    @property
    def sentence(self) -> str:
        """The outcome in one sentence or two."""
        if self.verdict is None:
            return self.reason or "There is no verdict."
        found = self.verdict
        chance = "" if found["p_value"] is None else f", p = {found['p_value']:.2g}"
        if found.get("probability") is not None:
            chance += f", probability {found['probability']:.2g} at a prior of {found['prior']:g}"
        score = f"score {found['score']:.4g}, trojaned from {found['threshold']:.4g} on{chance}"
        if not self.trojaned:
            return f"No evidence of a backdoor, of the attack families that were tested ({score})."
        return f"The classifier is called trojaned: evidence of a backdoor towards {suspect(found)} ({score})."


def suspect(verdict: dict[str, Any]) -> str:
    """Which class stands out, from which classes, and where."""
    words = f"class {verdict['target_class']}"
    if verdict.get("source_classes"):
        words += f", from class {', '.join(map(str, verdict['source_classes']))}"
    if verdict.get("place"):
        top, left, height, width = verdict["place"]
        words += f", patch of {height} x {width} at row {top}, column {left}"
    elif verdict.get("pixel"):
        words += ", pixel ({}, {})".format(*verdict["pixel"])
    return words


def digest_of(path: Path) -> str | None:
    """The SHA-256 of a file, None for anything that is no regular file."""
    if not path.is_file():
        return None
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
