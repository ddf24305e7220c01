"""Opening an object detector that somebody else trained: its weights are read as data and put into a known network."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor
from torchvision.models.detection import FasterRCNN

from onepixel.boxes.table import DETECTOR_ARCHITECTURES
from onepixel.errors import ModelFileError, UsageError
from onepixel.opening.fitting import fit, without_compiled
from onepixel.opening.limits import Limits, refusing
from onepixel.opening.recognise import WEIGHT_FORMATS, recognise
from onepixel.opening.refusals import refuse
from onepixel.opening.request import Request
from onepixel.opening.state_dict import read_weights
from onepixel.printable import escaped

LAST = "roi_heads.box_predictor.cls_score.weight"
"""The layer that says how many outputs the box head has."""

MOST_OUTPUTS = 10_000


def open_detector(
    path: str | Path, architecture: str, *, shorter_side: int | None = None, key: str | None = None
) -> tuple[FasterRCNN, tuple[str, ...]]:
    """Open a file of weights as an object detector, and say what was assumed.

    Parameters
    ----------
    path : str or Path
        A safetensors file, a state dict or a checkpoint; nothing in it is run.
    architecture : str
        A name in `DETECTOR_ARCHITECTURES`.
    shorter_side : int, optional
        To what the detector scales the shorter side of its images; the architecture's own unless said.
    key : str, optional
        Which weights of a file that holds several.

    Raises
    ------
    UsageError
        If there is no such architecture or file, or something has to be said first.
    ModelFileError
        If the file is damaged, or does not fit the architecture.
    """
    known = DETECTOR_ARCHITECTURES[architecture]
    if shorter_side is not None and not 32 <= shorter_side <= 4096:
        raise UsageError(f"The shorter side of a detector's images is 32 to 4096 pixels but got {shorter_side}.")
    file = Path(path)
    limits = Limits()
    form = recognise(file, limits)
    refuse(escaped(file.name), form)
    if form not in WEIGHT_FORMATS:
        raise UsageError(f"{escaped(file.name)} holds no weights as torch.save or safetensors write them.")
    request = Request.make(file, form, architecture=architecture, key=key)
    weights, notes = read_weights(request, limits)
    side = shorter_side or known.shorter_side
    detector = known.build(outputs_of(weights.tensors, request.name), side)
    fitted = fit(weights.tensors, detector, request.name, architecture)
    with refusing(request.name, f"putting its weights into {architecture}"):
        detector.load_state_dict(fitted.weights, strict=False)
    said = (
        f"The weights were put into {architecture}, as you said.",
        f"The detector was taken to scale images to a shorter side of {side} pixels, and to normalise them as "
        "torchvision's do.",
    )
    return detector.eval(), (*said, *notes, *fitted.notes)


def outputs_of(weights: Mapping[str, Tensor], name: str) -> int:
    """K + 1, from the last layer of the box head.

    Raises
    ------
    ModelFileError
        If there is no such layer, or it has one output or far too many.
    """
    last = next((one for key, one in without_compiled(weights).weights.items() if key.endswith(LAST)), None)
    if last is None or last.ndim != 2:
        raise ModelFileError(f"{name} has no layer {LAST}, which every Faster R-CNN of torchvision's has.")
    if not 2 <= len(last) <= MOST_OUTPUTS:
        raise ModelFileError(f"{name} has a box head of {len(last)} outputs; onepixel takes 2 to {MOST_OUTPUTS}.")
    return len(last)
