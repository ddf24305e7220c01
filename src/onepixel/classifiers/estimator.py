"""A fitted scikit-learn classifier on flattened images, as in ICLR appendix A.2."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from onepixel.classifiers.base import Outputs, check_answers
from onepixel.errors import UsageError


class EstimatorClassifier:
    """A scikit-learn estimator with `predict_proba`, on images flattened to (N, C * H * W), as a `Classifier`.

    Parameters
    ----------
    estimator : object
        Fitted, with `predict_proba`.
    input_shape : tuple of int
        (C, H, W); an image is flattened in this order.
    scale : float
        What the pixels, in [0, 1], are multiplied with before the estimator sees them (16 for scikit-learn's digits).

    Raises
    ------
    UsageError
        If the estimator has no `predict_proba`.
    UndecidedError
        If its answers cannot be used; see `check_answers`.
    """

    device = torch.device("cpu")
    dtype = torch.float32
    outputs: Outputs = "probabilities"

    def __init__(self, estimator: Any, input_shape: tuple[int, int, int], scale: float = 1.0) -> None:
        if not hasattr(estimator, "predict_proba"):
            raise UsageError(
                f"{type(estimator).__name__} has no predict_proba (for an SVM: wrap it in CalibratedClassifierCV)."
            )
        self.estimator = estimator
        self.input_shape = input_shape
        self.scale = scale
        self.name = type(estimator).__name__
        self.classes = check_answers(self)

    def __call__(self, images: Tensor) -> Tensor:
        """Answer images (N, C, H, W) with probabilities (N, K)."""
        flat = images.numpy().reshape(len(images), -1) * np.float32(self.scale)
        return torch.as_tensor(np.asarray(self.estimator.predict_proba(flat)))
