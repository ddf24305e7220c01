"""Folders with a model in them, as Hugging Face, MLflow and contests lay them out: which file, and what lies beside it.

What the folder says about images, labels and normalisation is read as data and used where the user said nothing. Code
in a folder is never used.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeGuard

from onepixel.errors import ModelFileError, UsageError
from onepixel.opening.refusals import SAVED_MODEL
from onepixel.printable import escaped, one_line

MODEL_ENDINGS = (
    *(".safetensors", ".onnx", ".pt2", ".pt", ".pth", ".th", ".ckpt", ".bin", ".skops", ".keras", ".h5", ".tflite"),
    *(".safetensors.index.json", ".gz", ".pkl", ".pickle", ".joblib"),
)
FIRST = (
    "model.safetensors.index.json",
    "model.safetensors",
    "model.onnx",
    "onnx/model.onnx",
    "pytorch_model.bin",
    "data/model.pth",
    "model.pt",
    "model.pth",
)
"""Names that mean the model itself wherever they occur, in this order."""
OTHERS = ("optimizer", "scheduler", "training_args", "rng_state", "scaler", "trainer_state", "ground_truth")
EXAMPLES = ("clean-example-data", "clean_example_data", "example_data")
IMAGES = (".png", ".jpg", ".jpeg")
SAVED_MODEL_FILE = "saved_model.pb"
SIGNS = ("config.json", "MLmodel", "model.safetensors.index.json", SAVED_MODEL_FILE, *EXAMPLES)
"""What lies right inside a folder that is a single model itself."""
MOST_FILES = 20_000
LARGEST_TEXT = 2**20
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Folder:
    """A folder, or an archive that holds one.

    Attributes
    ----------
    name : str
        For people.
    files : tuple of str
        Paths below it.
    read : callable
        From such a path to its bytes.
    """

    name: str
    files: tuple[str, ...]
    read: Callable[[str], bytes]


@dataclass(frozen=True)
class Found:
    """The model in a folder, and what the folder says of it.

    Attributes
    ----------
    model : str
        Its path below the folder.
    architecture, input_shape, normalize, pixel_range
        As `load_classifier` takes them; None where the folder does not say.
    notes : tuple of str
        Sentences for the verdict.
    examples : str or None
        The folder of example images below it.
    """

    model: str
    architecture: str | None = None
    input_shape: Shape | None = None
    normalize: Any = None
    pixel_range: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()
    examples: str | None = None


def folder_at(path: Path) -> Folder:
    """A folder on disk; hidden files and folders are left out.

    Raises
    ------
    ModelFileError
        If it holds too many files.
    """
    files = []
    for each in path.rglob("*"):
        inside = each.relative_to(path)
        if any(part.startswith(".") for part in inside.parts) or not each.is_file():
            continue
        files.append(inside.as_posix())
        if len(files) > MOST_FILES:
            raise ModelFileError(f"{escaped(path)} holds more than {MOST_FILES} files; name the model file itself.")

    def read(name: str) -> bytes:
        with (path / name).open("rb") as file:
            return file.read(LARGEST_TEXT + 1)

    return Folder(escaped(path.name or path), tuple(sorted(files)), read)


def choose_model(folder: Folder) -> Found:
    """The model in a folder.

    Raises
    ------
    ModelFileError
        If there is none.
    UsageError
        If there are several and none has the name of the model itself.
    """
    files = {depth_free(name): name for name in sorted(folder.files, key=lambda name: -name.count("/"))}
    for wanted in FIRST:
        if wanted in files:
            return Found(files[wanted])
    models = [name for name in folder.files if is_model_name(name)]
    if not models:
        raise ModelFileError(f"{folder.name} holds no model file ({len(folder.files)} files of other kinds).")
    if len(models) > 1:
        shown = ", ".join(one_line(name, 60) for name in models[:8])
        raise UsageError(f"{folder.name} holds {len(models)} model files ({shown}); name one of them.")
    return Found(models[0])


def is_one_model(path: Path) -> bool:
    """Whether a folder on disk is a single model, as Hugging Face, MLflow, TensorFlow and contests lay them out."""
    return any((path / sign).exists() for sign in SIGNS)


def models_in(path: Path) -> list[Path]:
    """The models right inside a folder on disk, in order of their names: files, and folders that are one model each.

    Hidden ones are left out.
    """
    return sorted(
        entry
        for entry in path.iterdir()
        if not entry.name.startswith(".")
        and (
            is_one_model(entry) or any((entry / name).is_file() for name in FIRST)
            if entry.is_dir()
            else is_model_name(entry.name) and entry.is_file()
        )
    )


def depth_free(name: str) -> str:
    """A path without the one folder that an archive may put around everything."""
    parts = PurePosixPath(name).parts
    return "/".join(parts[-2:]) if len(parts) > 1 and parts[-2] in ("data", "onnx") else parts[-1] if parts else name


def is_model_name(name: str) -> bool:
    """Whether a file's name is that of a model."""
    last = PurePosixPath(name).name.lower()
    hidden = any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)
    return not hidden and last.endswith(MODEL_ENDINGS) and not last.startswith(OTHERS)


def find_model(path: Path, file: str | None = None) -> Found:
    """The model in a folder on disk, with everything that the folder says of it.

    Parameters
    ----------
    path : Path
    file : str, optional
        The model's path below the folder, if it was named.

    Raises
    ------
    ModelFileError, UsageError
        As `choose_model`, or if what lies beside it is damaged.
    """
    folder = folder_at(path)
    if SAVED_MODEL_FILE in folder.files:
        raise ModelFileError(f"{folder.name} {SAVED_MODEL}")
    found = choose_model(folder) if file is None else Found(file)
    notes = [f"The model is {one_line(found.model, 100)} in the folder {folder.name}."]
    said = {**from_config(folder, notes), **from_preprocessor(folder, notes)}
    for key, value in from_mlflow(folder, notes).items():
        said.setdefault(key, value)
    code = [name for name in folder.files if name.endswith(".py")]
    if code:
        more = " and more" if len(code) > 1 else ""
        notes.append(f"The folder brings code ({one_line(code[0], 60)}{more}), which was not used.")
    examples = next((each for each in EXAMPLES if any(name.startswith(f"{each}/") for name in folder.files)), None)
    if examples is not None:
        count = sum(name.startswith(f"{examples}/") and name.lower().endswith(IMAGES) for name in folder.files)
        notes.append(f"{count} example images lie in {examples}.")
    return Found(found.model, notes=tuple(notes), examples=examples, **said)


def read_json(folder: Folder, name: str) -> dict[str, Any]:
    """A small JSON object, or an empty one where there is no such file.

    Raises
    ------
    ModelFileError
        If it is damaged or too large.
    """
    if name not in folder.files:
        return {}
    contents = folder.read(name)
    try:
        found = json.loads(contents) if len(contents) <= LARGEST_TEXT else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ModelFileError(f"{folder.name} is damaged: its {name} is no small JSON object.")
    return found


def from_config(folder: Folder, notes: list[str]) -> dict[str, Any]:
    """What config.json says: timm's own layout, or that of transformers."""
    config = read_json(folder, "config.json")
    said: dict[str, Any] = {}
    own = config.get("pretrained_cfg")
    if isinstance(config.get("architecture"), str) and isinstance(own, dict):
        said["architecture"] = f"timm:{config['architecture']}"
        notes.append(f"The folder's config.json names timm's {one_line(config['architecture'], 60)}.")
        shape = sizes(own.get("input_size"))
        if shape is not None:
            said["input_shape"] = shape
        if numbers(own.get("mean")) and numbers(own.get("std")):
            said["normalize"] = (tuple(own["mean"]), tuple(own["std"]))
            notes.append("Normalisation and image size are those of the folder's config.json.")
    channels, size = config.get("num_channels", 3), config.get("image_size")
    if isinstance(size, int):
        size = (size, size)
    if isinstance(size, list | tuple) and len(size) == 2 and "input_shape" not in said:
        shape = sizes((channels, *size))
        if shape is not None:
            said["input_shape"] = shape
            notes.append("The image size is that of the folder's config.json.")
    labels = config.get("id2label") or config.get("label_names")
    if isinstance(labels, dict | list) and labels:
        shown = list(labels.values() if isinstance(labels, dict) else labels)[:12]
        notes.append(f"Labels of the folder: {', '.join(one_line(label, 30) for label in shown)}"
                     f"{' and more' if len(labels) > len(shown) else ''}.")  # fmt: skip
    if "auto_map" in config:
        notes.append("The folder's config.json asks for code of its own (auto_map), which was not used.")
    kinds = config.get("architectures")
    if isinstance(kinds, list) and kinds and "architecture" not in said:
        notes.append(
            f"The folder's config.json names {one_line(kinds[0], 60)} of the transformers library; if its weights are "
            "not those of an architecture known here, export ONNX: optimum-cli export onnx --model FOLDER OUTPUT."
        )
    return said


def from_preprocessor(folder: Folder, notes: list[str]) -> dict[str, Any]:
    """What preprocessor_config.json says of scale, normalisation and size."""
    config = read_json(folder, "preprocessor_config.json")
    said: dict[str, Any] = {}
    if not config:
        return said
    factor = config.get("rescale_factor", 1 / 255) if config.get("do_rescale", True) is not False else 1.0
    if isinstance(factor, int | float) and math.isfinite(factor) and factor > 0 and abs(255 * factor - 1) > 1e-3:
        said["pixel_range"] = (0.0, 255.0 * factor)
    mean, std = config.get("image_mean"), config.get("image_std")
    if config.get("do_normalize", True) is not False and numbers(mean) and numbers(std):
        said["normalize"] = (tuple(mean), tuple(std))
    elif config.get("do_normalize") is False:
        said["normalize"] = "none"
    size = config.get("crop_size") if config.get("do_center_crop") else config.get("size")
    if isinstance(size, dict):
        size = (size.get("height"), size.get("width"))
    elif isinstance(size, int):
        size = (size, size)
    # Without a mean per channel, config.json says how many there are, if anything does.
    channels = len(mean) if numbers(mean) else read_json(folder, "config.json").get("num_channels", 3)
    shape = sizes((channels, *size)) if isinstance(size, list | tuple) and len(size) == 2 else None
    if shape is not None:
        said["input_shape"] = shape
    notes.append("Image size and normalisation are those of the folder's preprocessor_config.json.")
    return said


def from_mlflow(folder: Folder, notes: list[str]) -> dict[str, Any]:
    """What MLflow's MLmodel says of the images: the shape in its signature."""
    if "MLmodel" not in folder.files:
        return {}
    text = folder.read("MLmodel")[:LARGEST_TEXT].decode("utf-8", "replace")
    start = text.find("tensor-spec")
    # The signature is JSON inside the file's YAML; of it, only the first shape is wanted.
    shape = text[start:].partition("shape")[2] if start >= 0 else ""
    inside = shape.partition("[")[2].partition("]")[0]
    try:
        found = [int(word) for word in inside.replace("\\n", " ").split(",")]
    except ValueError:
        return {}
    fitting = sizes(found[1:]) if len(found) == 4 else None
    if fitting is None:
        return {}
    notes.append("The image size is that of the folder's MLmodel.")
    return {"input_shape": fitting}


def sizes(found: object) -> Shape | None:
    """(C, H, W) if it is three positive whole numbers."""
    if not isinstance(found, list | tuple) or len(found) != 3:
        return None
    if not all(isinstance(size, int) and not isinstance(size, bool) and 1 <= size <= 16384 for size in found):
        return None
    return (found[0], found[1], found[2])


def numbers(found: object) -> TypeGuard[list[float]]:
    """Whether something is a short list of finite numbers."""
    return isinstance(found, list) and 1 <= len(found) <= 64 and all(
        isinstance(each, int | float) and math.isfinite(each) for each in found
    )  # fmt: skip
