"""One model and what is asked about it: how it is opened, by which images or detector it is judged, and the verdict."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from onepixel.cli.options import Opening, assumptions, chosen_engine, closing
from onepixel.errors import UsageError
from onepixel.printable import escaped

if TYPE_CHECKING:
    from onepixel.detectors.verdict import Verdict


@dataclass(frozen=True)
class Asking:
    """By what a model is judged; the words of the command line, or of a manifest."""

    images: str | None = None
    resize: bool = False
    search: str = "auto"
    detector: str | None = None
    engine: str = "auto"
    budget: int | None = None
    prior: float = 0.5


@dataclass(frozen=True)
class Task:
    """One audit."""

    opening: Opening
    asking: Asking = Asking()

    @property
    def model(self) -> str:
        """The file, folder or URL."""
        return self.opening.model

    def verdict(self, *, progress: bool) -> "Verdict":
        """Open the model and judge it.

        Raises
        ------
        OnepixelError
            If it cannot be opened or judged.
        """
        asking = self.asking
        if asking.images is not None and not Path(asking.images).exists():
            raise UsageError(f"There is no folder or file {escaped(asking.images)}.")
        from onepixel.detectors.auditing import audit

        classifier = self.opening.classifier()
        with closing(classifier):
            verdict = audit(
                classifier,
                asking.images,
                detector=asking.detector,
                resize=asking.resize,
                search=asking.search,
                engine=chosen_engine(asking.engine, asking.budget),
                budget=asking.budget,
                prior=asking.prior,
                progress=progress,
            )
        return replace(verdict, assumptions=(*verdict.assumptions, *assumptions(classifier)))
