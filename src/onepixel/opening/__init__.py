"""Opening what a stranger sent, a model file or an endpoint, without running its code outside a sandbox."""

from typing import TYPE_CHECKING, Any, cast

from onepixel.opening.limits import Limits
from onepixel.opening.recognise import WEIGHT_FORMATS, Format
from onepixel.opening.request import Request

if TYPE_CHECKING:
    from onepixel.classifiers import Classifier

__all__ = ["Format", "Limits", "open_file"]


def open_file(request: Request, limits: Limits, *, sandboxed: bool = False) -> "Classifier":
    """Open a file in this process, and look once at what it answers; programs only in a sandbox."""
    from onepixel.opening.answers import dependence_notes

    classifier: Any = opened(request, limits, sandboxed=sandboxed)
    classifier.assumptions = (*classifier.assumptions, *dependence_notes(classifier))
    return classifier


def opened(request: Request, limits: Limits, *, sandboxed: bool) -> "Classifier":
    """The classifier in a file; programs only where this process is itself the sandbox."""
    form = request.format
    if form is Format.PACKED:
        from onepixel.opening.archives import unpacked

        inside = unpacked(request, limits)
        classifier: Any = opened(inside.request, limits, sandboxed=sandboxed)
        classifier.assumptions = (*classifier.assumptions, *inside.notes)
        return cast("Classifier", classifier)
    if form is Format.ONNX:
        from onepixel.opening.onnx_file import open_onnx

        return open_onnx(request, limits, sandboxed=sandboxed)
    if form in WEIGHT_FORMATS:
        from onepixel.opening.state_dict import open_weights

        return open_weights(request, limits)
    if form in (Format.KERAS, Format.HDF5):
        from onepixel.opening.keras_file import open_keras

        return open_keras(request, limits)
    if form is Format.TFLITE:
        from onepixel.opening.tflite_file import open_tflite

        return open_tflite(request, limits)
    if form is Format.SKOPS:
        from onepixel.opening.skops_file import open_skops

        return open_skops(request, limits, sandboxed=sandboxed)
    if not sandboxed:
        raise AssertionError("programs are opened in a sandbox only")
    from onepixel.opening.program import open_program

    return open_program(request)
