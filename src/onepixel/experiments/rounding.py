"""Does a detector see the difference between signatures as computed (float32) and as the zoo keeps them (float16)?

The same detector scores both; the differences stand beside the spread of its scores over clean models.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

import onepixel
from onepixel.classifiers import Classifier
from onepixel.detectors import Detector, load_detector
from onepixel.experiments.declared import Cells, Experiment, ExperimentOptions, Laboratory, Result, Said
from onepixel.populations import Store, passed
from onepixel.populations.store import signature_row
from onepixel.populations.zoo import as_kept
from onepixel.report.tables import table_of

EXAMPLES = ("clean", "trojaned")
"""LeNet-5 networks of MNIST inside the package, those of `examples/`, for whoever has no store at hand."""


@dataclass(frozen=True)
class Difference:
    """What rounding does to the scores of some models.

    Attributes
    ----------
    source : str
        Where the models are from.
    models : int
    largest_log_odds : float
        Largest difference of a number in the signatures.
    largest_score : float
        Largest difference of a score.
    spread : float
        Standard deviation of the detector's scores of clean models.
    decisions_changed : int
    """

    source: str
    models: int
    largest_log_odds: float
    largest_score: float
    spread: float
    decisions_changed: int


def compare(detector: Detector, rows: NDArray[np.void], source: str) -> Difference:
    """Score rows as they are and as a zoo keeps them."""
    kept = as_kept(rows)
    exact, rounded = detector.decision_function(rows), detector.decision_function(kept)
    changed = (exact >= detector.threshold_) != (rounded >= detector.threshold_)
    return Difference(
        source=source,
        models=len(rows),
        largest_log_odds=max(float(np.abs(rows[name] - kept[name]).max()) for name in ("low", "high")),
        largest_score=float(np.abs(exact - rounded).max()),
        spread=float(detector.clean_scores_.std()),
        decisions_changed=int(changed.sum()),
    )


def example(name: str) -> Classifier:
    """An example network by its name in `EXAMPLES`."""
    path = Path(__file__).parent / "examples" / f"{name}.safetensors"
    return onepixel.load_classifier(str(path), architecture="lenet5", outputs="logits", normalize="none")


class Options(ExperimentOptions):
    """Options of `onepixel experiment rounding`."""

    stores: Annotated[
        tuple[Path, ...],
        Field(description="A population with its weights; may be repeated. Else the two examples."),
        Said(flag="--store", metavar="STORE"),
    ] = ()
    detectors: Annotated[
        tuple[str, ...],
        Field(description="One that is shipped, or a file; may be repeated. mnist-lenet5-black unless said."),
        Said(flag="--detector", metavar="DETECTOR"),
    ] = ("mnist-lenet5-black",)


def find(options: Options, laboratory: Laboratory) -> Result[list[tuple[str, Difference]]]:
    """Compare scores on float32 and float16."""
    stores = [Store.open(store) for store in options.stores]
    sources = [(store.recipe.name, passed(store)[0]) for store in stores]
    if not sources:
        rows = np.stack([signature_row(onepixel.signature(example(name))) for name in EXAMPLES])
        sources = [("the example networks", rows)]
    found = [
        (name, compare(load_detector(name), rows, source)) for name in options.detectors for source, rows in sources
    ]
    records = [{"detector": name, **for_machines(one)} for name, one in found]
    said = [
        f"{name}, {one.source}: scores differ by at most {one.largest_score / one.spread:.2g} of their spread."
        for name, one in found
    ]
    return Result.of(found, "stores" if stores else "examples", records, as_markdown(found), said=said)


EXPERIMENT = Experiment(
    "rounding",
    "Does a detector see that the zoo keeps float16 instead of float32?",
    Options,
    find,
    plan=lambda whole: [Options()],
    reads_zoo=False,
    workers=False,
)


def for_machines(one: Difference) -> Cells:
    """One row for machines, whose numbers are too small for four digits."""
    numbers = {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in vars(one).items()}
    return {"models_from": numbers.pop("source"), **numbers}


def as_markdown(found: Sequence[tuple[str, Difference]]) -> str:
    """The table for people."""
    table = table_of(
        {
            "detector": name,
            "models from": one.source,
            "models": one.models,
            "largest difference, log-odds": f"{one.largest_log_odds:.2g}",
            "largest difference, score": f"{one.largest_score:.2g}",
            "sd of clean scores": f"{one.spread:.2g}",
            "largest / sd": f"{one.largest_score / one.spread:.2g}",
            "decisions changed": one.decisions_changed,
        }
        for name, one in found
    )
    return f"""# What the zoo's small type loses

The zoo keeps how far log-odds rise and fall as float16, rounded to six significant bits. The same detector scores
signatures as they were computed, in float32, and as the zoo gives them back; beside the largest difference stands the
standard deviation of the detector's held-out scores of clean models.

{table}
"""
