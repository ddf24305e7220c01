"""`onepixel audit` of an object detector: what of the command applies to it, and what does not."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from onepixel.cli import options
from onepixel.errors import UsageError

if TYPE_CHECKING:
    from onepixel.detectors.verdict import Verdict

FIRST_LETTERS = "fasterrcnn_"
"""How the names of object detectors' architectures begin; told here so that nothing is imported to find out."""


def is_detector(opening: options.Opening) -> bool:
    """Whether the model is an object detector, by the architecture that the user named."""
    return (opening.architecture or "").startswith(FIRST_LETTERS)


def verdict(
    opening: options.Opening, images: str | None, idle: Sequence[str], prior: float, *, progress: bool
) -> "Verdict":
    """Judge an object detector by a folder of scenes.

    Parameters
    ----------
    opening : Opening
        With the model and its architecture.
    images : str, optional
        A folder in COCO format.
    idle : sequence of str
        Options that were given and do not apply, by their flags.
    prior : float
    progress : bool

    Raises
    ------
    UsageError
        If there is no folder, or an option was given that does not apply.
    """
    if idle:
        raise UsageError(f"{', '.join(idle)}: this does not apply to object detectors.")
    if images is None:
        raise UsageError("An object detector is judged with --images FOLDER, a folder of scenes in COCO format.")
    from onepixel.boxes.auditing import audit_file

    assert opening.architecture is not None
    shape = options.parsed_numbers(opening.input_shape, int, "--input-shape C,H,W such as 3,64,64")
    side = None if shape is None else min(shape[1:], default=0)
    return audit_file(
        opening.model,
        opening.architecture,
        images,
        shorter_side=side,
        key=opening.key,
        prior=prior,
        progress=progress,
    )
