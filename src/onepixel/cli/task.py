"""One model and what is asked about it: how it is opened, by which images or detector it is judged, and the verdict."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from onepixel.cli import object_detector
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
        if object_detector.is_detector(self.opening):
            return object_detector.verdict(self.opening, asking.images, self._idle(), asking.prior, progress=progress)
        # Opened first: where a sandbox is needed, it starts while this process imports what judges.
        classifier = self.opening.classifier()
        from onepixel.detectors.auditing import audit

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

    def _idle(self) -> list[str]:
        """Options that were given and do not apply to object detectors, by their flags."""
        asking, opening = self.asking, self.opening
        given = {
            "--detector": asking.detector is not None,
            "--budget": asking.budget is not None,
            "--resize": asking.resize,
            "--search": asking.search != "auto",
            "--engine": asking.engine != "auto",
            "--outputs": opening.outputs is not None,
            "--range": opening.pixel_range is not None,
            "--normalize": opening.normalize not in (None, "none"),
            "--sandbox": opening.sandbox or opening.require_sandbox,
        }
        return [flag for flag, was in given.items() if was]
