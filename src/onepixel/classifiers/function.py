"""Any Python callable on NumPy images as a classifier."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onepixel.classifiers.base import Outputs, check_answers


class FunctionClassifier:
    """A callable from images (N, C, H, W) float32 in [0, 1] to answers (N, K), as a `Classifier`.

    Parameters
    ----------
    function : callable
        Takes and returns NumPy arrays.
    input_shape : tuple of int
        (C, H, W).
    outputs : {"probabilities", "logits"}
    name : str, optional

    Raises
    ------
    UndecidedError
        If its answers cannot be used; see `check_answers`.
    """

    device = torch.device("cpu")
    dtype = torch.float32
    assumptions: tuple[str, ...] = ()
    range_unsure: bool = False
    """Whether a user said that images stay as they are, and nothing else says so: it may be a mistake."""

    def __init__(
        self,
        function: Callable[[NDArray[np.float32]], Any],
        input_shape: tuple[int, int, int],
        outputs: Outputs = "probabilities",
        name: str | None = None,
    ) -> None:
        self.function = function
        self.input_shape = input_shape
        self.outputs: Outputs = outputs
        self.name = name or str(getattr(function, "__name__", type(function).__name__))
        self.classes = check_answers(self)

    def __call__(self, images: Tensor) -> Tensor:
        """Answer images (N, C, H, W) with (N, K) answers of the function's own floating type."""
        return torch.as_tensor(np.asarray(self.function(images.numpy())))
