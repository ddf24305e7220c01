"""A `torch.nn.Module` as a classifier: evaluated in eval mode, on any device, in float32 or float64."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from onepixel.classifiers.base import Outputs, check_answers
from onepixel.errors import AnswerError, UsageError

Normalize = tuple[Sequence[float], Sequence[float]]
"""Mean and standard deviation per channel, subtracted and divided before the module sees an image in [0, 1]."""


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Hold a module in eval mode without gradients; every submodule's own mode is restored afterwards."""
    modes = [(part, part.training) for part in module.modules() if part.training]
    if modes:
        module.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for part, training in modes:
            part.training = training


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Keep a GPU from rounding float32 to TF32 meanwhile, as it does in convolutions unless told otherwise."""
    if device.type != "cuda":
        yield
        return
    convolutions, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = convolutions.allow_tf32, products.allow_tf32
    try:
        convolutions.allow_tf32 = products.allow_tf32 = False
        yield
    finally:
        convolutions.allow_tf32, products.allow_tf32 = before


class ModuleClassifier:
    """A `torch.nn.Module` that maps (N, C, H, W) to (N, K), as a `Classifier`.

    Device and floating type are those of the module's first parameter (CPU and float32 if it has none).

    Parameters
    ----------
    module : torch.nn.Module
        Put in eval mode while it answers, and back afterwards.
    input_shape : tuple of int
        (C, H, W).
    outputs : {"logits", "probabilities"}
    normalize : (mean, std), optional
        One number per channel each (or one for all); the module then sees (image - mean) / std.
    name : str, optional

    Raises
    ------
    UsageError
        If `module` is no module, or `normalize` does not fit the channels.
    UndecidedError
        If its answers cannot be used; see `check_answers`.
    """

    assumptions: tuple[str, ...] = ()
    range_unsure: bool = False
    """Whether a user said that images stay as they are, and nothing else says so: it may be a mistake."""
    stands_in = False
    """Whether the module was made after something else, whose answers are the classifier's."""

    def __init__(
        self,
        module: nn.Module,
        input_shape: tuple[int, int, int],
        outputs: Outputs = "logits",
        normalize: Normalize | None = None,
        name: str | None = None,
    ) -> None:
        if not isinstance(module, nn.Module):
            raise UsageError(f"Expected a torch.nn.Module but got {type(module).__name__}.")
        self.module = module
        self.input_shape = input_shape
        self.outputs: Outputs = outputs
        self.name = name or type(module).__name__
        anchor = next((p for p in module.parameters() if p.is_floating_point()), torch.zeros(()))
        self.device, self.dtype = anchor.device, anchor.dtype
        self.mean, self.std = self._normalization(normalize)
        self.classes = check_answers(self)

    def _normalization(self, normalize: Normalize | None) -> tuple[Tensor | None, Tensor | None]:
        if normalize is None:
            return None, None
        channels = self.input_shape[0]
        for numbers in normalize:
            if len(numbers) not in (1, channels):
                raise UsageError(f"normalize needs 1 or {channels} numbers for mean and std but got {len(numbers)}.")
        mean, std = (torch.tensor(n, dtype=self.dtype, device=self.device).view(-1, 1, 1) for n in normalize)
        if not bool((std > 0).all()):
            raise UsageError("normalize needs standard deviations above 0.")
        return mean, std

    def prepare(self, images: Tensor) -> Tensor:
        """What the module itself sees: images (N, C, H, W) in [0, 1] after the normalisation."""
        if self.mean is None or self.std is None:
            return images
        return (images - self.mean) / self.std

    def __call__(self, images: Tensor) -> Tensor:
        """Answer images (N, C, H, W) with (N, K), on the module's device."""
        with evaluating(self.module), full_precision(self.device):
            answers = self.module(self.prepare(images))
        if not isinstance(answers, Tensor):
            raise AnswerError(f"{self.name} answers with a {type(answers).__name__}, not with one tensor (N, K).")
        return answers
