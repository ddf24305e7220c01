"""scikit-learn models in the skops format; only types that skops trusts by itself are built, a few more in a sandbox.

A trusted type is not a safe one: the native code of support vectors, trees and sparse matrices takes numbers that it
was given for places in memory, and a hostile file makes it read where it should not. Outside a sandbox, only what
answers with NumPy alone is opened.
"""

import json
import zipfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onepixel.classifiers import FunctionClassifier
from onepixel.errors import AnswerError, InputShapeError, ModelFileError, UsageError
from onepixel.opening.limits import Limits, address_space_capped, refusing
from onepixel.opening.preparation import Layout, preparation, range_for
from onepixel.opening.request import Request
from onepixel.printable import one_line

NUMPY_ALONE = {
    *("base", "calibration", "decomposition", "discriminant_analysis", "dummy", "feature_selection", "linear_model"),
    *("multiclass", "naive_bayes", "neural_network", "pipeline", "preprocessing", "utils"),
}
"""Parts of scikit-learn whose estimators answer without native code that believes what it is given."""

TRUSTED_IN_A_SANDBOX = {
    "sklearn.tree._tree.Tree",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
}
"""Types that newer versions of skops distrust because their numbers can crash the process, and for nothing else."""

PLAIN_PACKAGES = {"builtins", "collections", "functools", "numpy", "operator", "scipy.special"}


def open_skops(request: Request, limits: Limits, *, sandboxed: bool = False) -> FunctionClassifier:
    """Open a skops file as a classifier of flattened images (N, C * H * W).

    Raises
    ------
    UsageError
        If skops is not installed, or the user did not say what the file leaves open.
    ModelFileError
        If the file is damaged, or holds types that skops does not trust or that need a sandbox.
    UndecidedError
        If its answers cannot be used.
    """
    try:
        import skops.io
    except ImportError as error:
        raise UsageError('skops files need skops: pip install "onepixel[skops]".') from error
    with address_space_capped(limits.memory_bytes), refusing(request.name, "reading it as skops"):
        untrusted = set(untrusted_types(skops.io, request)) - TRUSTED_IN_A_SANDBOX
        if untrusted:
            named = ", ".join(one_line(name, 60) for name in sorted(untrusted)[:4])
            raise ModelFileError(
                f"{request.name} needs types that skops does not trust ({named}); ask the vendor for a model "
                "made of scikit-learn's own types, or for ONNX."
            )
        native = [name for name in named_modules(request) if not sandboxed and not answers_with_numpy(name)]
        if native:
            named = ", ".join(one_line(name, 60) for name in sorted(native)[:4])
            raise ModelFileError(
                f"{request.name} needs {named}, whose native code takes a file at its word; "
                'open it with --sandbox (sandbox="use").'
            )
        trusted = sorted(TRUSTED_IN_A_SANDBOX) if sandboxed else None
        estimator = skops.io.loads(request.read(), trusted=trusted)
    return estimator_classifier(estimator, request)


def untrusted_types(io: Any, request: Request) -> list[str]:
    """The types in a file that skops does not trust by itself."""
    found: list[str] = io.get_untrusted_types(data=request.read())
    return found


def named_modules(request: Request) -> set[str]:
    """The modules of all types that a skops file names."""
    with request.open() as file, zipfile.ZipFile(file) as archive:
        stack: list[Any] = [json.loads(archive.read("schema.json"))]
    found: set[str] = set()
    while stack:
        current = stack.pop()
        if isinstance(current, dict):
            found.add(str(current.get("__module__", "builtins")))
            stack.extend(current.values())
        elif isinstance(current, list):
            stack.extend(current)
    return found


def answers_with_numpy(module: str) -> bool:
    """Whether a module's types are plain containers, arrays, or estimators that compute with NumPy."""
    package, _, rest = module.partition(".")
    if package == "sklearn":
        return rest.partition(".")[0] in NUMPY_ALONE
    return package in PLAIN_PACKAGES or module in PLAIN_PACKAGES


def estimator_classifier(estimator: Any, request: Request) -> FunctionClassifier:
    """An estimator with `predict_proba` on flattened, normalised images."""
    if not callable(getattr(estimator, "predict_proba", None)):
        raise AnswerError(f"{request.name} holds a {type(estimator).__name__}, which has no predict_proba.")
    if request.outputs == "logits":
        raise UsageError("A scikit-learn estimator answers probabilities, not logits.")
    if request.input_shape is None:
        raise UsageError(
            f"{request.name} takes flat rows of numbers; say which images they are with --input-shape "
            "(input_shape=(C, H, W))."
        )
    features = getattr(estimator, "n_features_in_", None)
    if features is not None and features != int(np.prod(request.input_shape)):
        raise InputShapeError(f"{request.name} takes {features} numbers per image, not {request.input_shape}.")
    values = range_for(request, None, request.input_shape[0])
    prepare = preparation(Layout(request.input_shape), values)

    def answer(images: NDArray[np.float32]) -> NDArray[np.floating]:
        rows = prepare(images).reshape(len(images), -1)
        return np.asarray(estimator.predict_proba(rows))

    classifier = FunctionClassifier(answer, request.input_shape, "probabilities", request.name)
    classifier.range_unsure = values.unsure
    classifier.assumptions = (
        f"Images are {request.input_shape}, flattened in the order (channels, height, width).",
        values.sentence,
        "Answers are probabilities, as predict_proba gives them.",
    )
    return classifier
