"""Formats that are never opened, each with the reason and with what to ask the vendor for instead."""

from onepixel.errors import ModelFileError
from onepixel.opening.recognise import Format

ASK = "Ask the vendor for ONNX, or for safetensors weights and the name of the architecture."

KERAS = (
    'Whoever made it can export ONNX: model.export("model.onnx", format="onnx") in Keras 3, or python -m '
    "tf2onnx.convert --keras MODEL --output model.onnx."
)
TFLITE = "Whoever made it can export ONNX: python -m tf2onnx.convert --tflite MODEL --output model.onnx --opset 17."
SAVED_MODEL = (
    "is a TensorFlow SavedModel, a program that is run to open it. Whoever made it can export ONNX: python -m "
    "tf2onnx.convert --saved-model FOLDER --output model.onnx."
)

REASONS: dict[Format, str] = {
    Format.PICKLE: "is a pickle (as .pkl and joblib files are), and unpickling runs whatever code its author chose.",
    Format.COMPRESSED: "is a compressed file (as joblib writes), which may hold a pickle.",
    Format.ORT: "is in ONNX Runtime's own format, whose graph cannot be checked before it is loaded.",
    Format.NUMPY: "holds NumPy arrays, not a model.",
    Format.ARCHIVE: "is an archive that is no model by itself, or that holds pickles beside one.",
    Format.OTHERWISE_PACKED: "is a 7z or RAR archive, which onepixel does not unpack; unpack it first.",
    Format.POINTER: "is what Git LFS keeps in place of a file that was not downloaded; `git lfs pull` fetches it.",
    Format.WEB_PAGE: "is a web page, saved where a model was to be downloaded; perhaps one has to sign in there.",
    Format.UNKNOWN: "is in no model format that onepixel knows, or is damaged at its beginning.",
}

NO_FAULT_OF_THE_VENDOR = (Format.OTHERWISE_PACKED, Format.POINTER, Format.WEB_PAGE)


def refuse(name: str, form: Format) -> None:
    """Raise the refusal of a format; formats that can be opened pass.

    Raises
    ------
    ModelFileError
        If files of this format are never opened.
    """
    if form in REASONS:
        raise ModelFileError(f"{name} {REASONS[form]}{'' if form in NO_FAULT_OF_THE_VENDOR else f' {ASK}'}")
