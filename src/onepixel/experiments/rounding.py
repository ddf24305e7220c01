"""Does a detector see the difference between signatures as computed (float32) and as the zoo keeps them (float16)?

The same detector scores both; the differences stand beside the spread of its scores over clean models.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import onepixel
from onepixel.detectors import Detector, load_detector
from onepixel.experiments.results import markdown_table, provenance, write_result
from onepixel.populations import Store, passed
from onepixel.populations.store import signature_row
from onepixel.populations.zoo import as_kept

EXAMPLES = ("clean", "trojaned")
"""Models below `examples/`, for whoever has no store at hand."""


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


def examples(folder: Path) -> NDArray[np.void]:
    """Signatures of the two example networks, in float32."""
    models = [
        onepixel.load_classifier(
            str(folder / f"{name}.safetensors"), architecture="lenet5", outputs="logits", normalize="none"
        )
        for name in EXAMPLES
    ]
    return np.stack([signature_row(onepixel.signature(model)) for model in models])


def run(
    output: Path,
    *,
    stores: Sequence[Path] = (),
    detectors: Sequence[str] = ("mnist-lenet5-black",),
    folder: Path = Path("examples"),
) -> list[tuple[str, Difference]]:
    """Compare scores on float32 and float16 and write a table, "stores" or "examples", below `output`.

    Parameters
    ----------
    output : Path
        A folder; made where it does not exist.
    stores : sequence of Path
        Populations with their weights, whose signatures are float32; the two example networks unless given.
    detectors : sequence of str
        Shipped ones by name, or files.
    folder : Path
        Where the example networks are.

    Raises
    ------
    UsageError
        If a store or a detector is not there.
    """
    started = time.perf_counter()
    sources = [(Store.open(store).recipe.name, passed(Store.open(store))[0]) for store in stores]
    sources = sources or [("the example networks", examples(folder))]
    found = [(name, compare(load_detector(name), rows, source)) for name in detectors for source, rows in sources]
    head = ["detector", "models_from", "models", "largest_log_odds", "largest_score", "spread", "decisions_changed"]
    cells = [[name, *vars(difference).values()] for name, difference in found]
    name = "stores" if stores else "examples"
    options = "".join(f" --store {store}" for store in stores) + "".join(f" --detector {name}" for name in detectors)
    made = provenance(f"onepixel experiment rounding{options}", time.perf_counter() - started)
    write_result(output, name, head, cells, as_markdown(found), made)
    return found


def as_markdown(found: list[tuple[str, Difference]]) -> str:
    """The table for people."""
    head = [
        "detector",
        "models from",
        "models",
        "largest difference, log-odds",
        "largest difference, score",
        "sd of clean scores",
        "largest / sd",
        "decisions changed",
    ]
    lines = [
        [
            name,
            one.source,
            one.models,
            f"{one.largest_log_odds:.2g}",
            f"{one.largest_score:.2g}",
            f"{one.spread:.2g}",
            f"{one.largest_score / one.spread:.2g}",
            one.decisions_changed,
        ]
        for name, one in found
    ]
    return f"""# What the zoo's small type loses

The zoo keeps how far log-odds rise and fall as float16, rounded to six significant bits. The same detector scores
signatures as they were computed, in float32, and as the zoo gives them back; beside the largest difference stands the
standard deviation of the detector's held-out scores of clean models.

{markdown_table(head, lines)}
"""
