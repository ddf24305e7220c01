"""scikit-learn models in the skops format; only types that skops trusts by itself are ever built."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onepixel.classifiers import FunctionClassifier
from onepixel.errors import AnswerError, InputShapeError, ModelFileError, UsageError
from onepixel.opening.limits import Limits, address_space_capped, one_line, refusing
from onepixel.opening.preparation import Layout, preparation, value_range
from onepixel.opening.request import Request


def open_skops(request: Request, limits: Limits) -> FunctionClassifier:
    """Open a skops file as a classifier of flattened images (N, C * H * W).

    Raises
    ------
    UsageError
        If skops is not installed, or the user did not say what the file leaves open.
    ModelFileError
        If the file is damaged or holds types that skops does not trust.
    UndecidedError
        If its answers cannot be used.
    """
    try:
        import skops.io
    except ImportError as error:
        raise UsageError('skops files need skops: pip install "onepixel[skops]".') from error
    with address_space_capped(limits.memory_bytes), refusing(request.name, "reading it as skops"):
        untrusted = skops.io.get_untrusted_types(file=request.path)
        if untrusted:
            named = ", ".join(one_line(name, 60) for name in sorted(untrusted)[:4])
            raise ModelFileError(
                f"{request.name} needs types that skops does not trust ({named}); ask the vendor for a model "
                "made of scikit-learn's own types, or for ONNX."
            )
        estimator = skops.io.load(request.path, trusted=None)
    return estimator_classifier(estimator, request)


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
    values = value_range(request.normalize, None, request.input_shape[0], request.name)
    prepare = preparation(Layout(request.input_shape), values)

    def answer(images: NDArray[np.float32]) -> NDArray[np.floating]:
        rows = prepare(images).reshape(len(images), -1)
        return np.asarray(estimator.predict_proba(rows))

    classifier = FunctionClassifier(answer, request.input_shape, "probabilities", request.name)
    classifier.assumptions = (
        f"Images are {request.input_shape}, flattened in the order (channels, height, width).",
        values.sentence,
        "Answers are probabilities, as predict_proba gives them.",
    )
    return classifier
