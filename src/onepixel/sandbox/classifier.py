"""A classifier whose network lives in the sandboxed child; everything the child says is checked as hostile."""

import math
import weakref
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from onepixel import errors
from onepixel.classifiers.base import Outputs
from onepixel.errors import AnswerError, OnepixelError, UsageError
from onepixel.opening.request import Request, checked_outputs, checked_shape
from onepixel.printable import one_line
from onepixel.progress import progress_bar
from onepixel.sandbox.launch import Child
from onepixel.sandbox.protocol import SMALL, Frame, ProtocolError
from onepixel.signatures.compute import ENGINES, describe_default_image
from onepixel.signatures.plan import Shared, default_image_array, pixel_mask
from onepixel.signatures.value import Settings, Signature

MOST_CLASSES = 100_000
MOST_QUERIES = 2**40
MOST_SENTENCES = 20


class SandboxedClassifier:
    """A file opened in a sandboxed child, as a `Classifier` that computes its own signature in there.

    `onepixel.signature` hands its arguments to `signature` below, so that the engine runs beside the network.

    Parameters
    ----------
    child : Child
        Locked down, and opening the file.
    request : Request
        What was opened.

    Attributes
    ----------
    assumptions : tuple of str
        What the child assumed, and the level of the sandbox.
    range_unsure : bool
        Whether a user said that images stay as they are, and nothing else says so: it may be a mistake.
    gives_gradients : bool
        Whether the child holds a module that gradients go through.

    Raises
    ------
    UndecidedError, UsageError
        What the child says about the file, or that it says nothing usable.
    """

    device = torch.device("cpu")
    dtype = torch.float32

    def __init__(self, child: Child, request: Request) -> None:
        self._child = child
        self.name = request.name
        about = self._answer(SMALL).about
        try:
            shape, outputs = checked_shape(about["input_shape"]), checked_outputs(about["outputs"])
            classes, sentences = about["classes"], list(about["assumptions"])
        except (KeyError, TypeError, UsageError) as error:
            raise ProtocolError(f"{self.name}: the sandbox sent something that is no answer") from error
        if shape is None or outputs is None or not is_count(classes, 2, MOST_CLASSES):
            raise ProtocolError(f"{self.name}: the sandbox sent something that is no answer")
        self.input_shape = shape
        self.outputs: Outputs = outputs
        self.classes: int = classes
        self.assumptions = (
            f"The file was opened and asked in a sandbox ({child.level.name}); its answers are what came out of there.",
            *(one_line(sentence) for sentence in sentences[:MOST_SENTENCES]),
        )
        self.range_unsure = about.get("range_unsure") is True
        self.gives_gradients = about.get("gradients") is True
        self._ended = weakref.finalize(self, child.close)

    def close(self) -> None:
        """End the child."""
        self._ended()

    def __call__(self, images: Tensor) -> Tensor:
        """Answer images (N, C, H, W) with (N, K)."""
        self._ask({}, {"images": images.numpy()})
        frame = self._answer(SMALL + 8 * len(images) * self.classes)
        answers = frame.arrays.get("answers")
        if answers is None or answers.dtype.kind != "f" or answers.shape != (len(images), self.classes):
            raise AnswerError(f"{self.name} did not answer {len(images)} images with {self.classes} numbers each.")
        return torch.from_numpy(answers.astype(np.promote_types(answers.dtype, np.float32)))

    def gradients(self, images: Tensor, weights: Tensor) -> Tensor:
        """Gradients (N, C, H, W) of the sum of log-odds times weights (N, K), computed inside the sandbox."""
        self._ask({}, {"images": images.numpy(), "weights": weights.numpy()})
        found = self._answer(SMALL + 8 * images.numel()).arrays.get("gradients")
        if found is None or found.dtype.kind != "f" or found.shape != images.shape or not np.isfinite(found).all():
            raise AnswerError(f"{self.name} did not answer {len(images)} images with a gradient each.")
        return torch.from_numpy(found.astype(np.float32))

    def signature(self, *, default_image: float | ArrayLike, **arguments: Any) -> Signature:
        """Compute the signature inside the sandbox; the arguments are those of `onepixel.signature`.

        Raises
        ------
        UndecidedError, UsageError
            What the engine says, or that what came back is no signature.
        """
        return self.signatures(default_images=[default_image], **arguments)[0]

    def signatures(
        self,
        *,
        values: int,
        inclusive: bool,
        default_images: Sequence[float | ArrayLike],
        pixels: int | NDArray[np.bool_] | None,
        engine: str,
        batch_size: int | None,
        budget: int | None,
        progress: bool,
        shared: Shared = Shared(),  # noqa: B008 (frozen)
    ) -> list[Signature]:
        """Compute the signatures from several default images inside the sandbox, in one pass.

        Raises
        ------
        UndecidedError, UsageError
            As `signature`.
        """
        _, height, width = self.input_shape
        images = np.stack([default_image_array(image, self.input_shape) for image in default_images])
        mask = pixel_mask(pixels, height, width)
        asked: dict[str, Any] = {"values": values, "inclusive": inclusive, "engine": engine, "batch_size": batch_size}
        asked |= {"budget": budget, "shared": asdict(shared)}
        self._ask({"signatures": asked}, {"default_images": images, "pixels": mask})
        most = (SMALL + 8 * (2 * self.classes * height * width + self.classes)) * len(images)
        total = len(images) * int(mask.sum())
        with progress_bar(f"signature of {self.name}", total, "pixels", enabled=progress) as advance:
            frame = self._answer(most)
            while is_count(frame.about.get("progress"), 0, len(images) * mask.size):
                advance(frame.about["progress"])
                frame = self._answer(most)
        settings = Settings(values, inclusive, outputs=self.outputs)
        each = [replace(settings, default_image=describe_default_image(image)) for image in images]
        return self._checked(frame, mask, each)

    def _checked(self, frame: Frame, mask: NDArray[np.bool_], settings: Sequence[Settings]) -> list[Signature]:
        """The signatures in a frame, one for each of the settings, if they can be that."""
        abouts, arrays = frame.about.get("signatures"), frame.arrays
        maps = (len(settings), self.classes, *mask.shape)
        shapes = {"low": maps, "high": maps, "base": maps[:2]}
        wrong = ProtocolError(f"{self.name}: the sandbox sent something that is no signature")
        if {name: array.shape for name, array in arrays.items()} != shapes or not all(
            array.dtype in (np.float32, np.float64) for array in arrays.values()
        ):
            raise wrong
        if not isinstance(abouts, list) or len(abouts) != len(settings):
            raise wrong
        low, high, base = arrays["low"], arrays["high"], arrays["base"]
        visited = np.broadcast_to(mask, low.shape)
        sound = np.isfinite(base).all() and np.isnan(low[~visited]).all() and np.isnan(high[~visited]).all()
        if not sound or not (np.isfinite(low[visited]) & np.isfinite(high[visited]) & (low <= high)[visited]).all():
            raise wrong
        for about in abouts:
            if not isinstance(about, dict) or about.get("engine") not in ENGINES:
                raise wrong
            if not is_count(about.get("queries"), 0, MOST_QUERIES):
                raise wrong
        return [
            Signature(
                low=low[number],
                high=high[number],
                base=base[number],
                settings=own,
                engine=about["engine"],
                queries=about["queries"],
                classifier=self.name,
                note=one_line(about.get("note", "")),
                details=plain_details(about.get("details")),
            )
            for number, (own, about) in enumerate(zip(settings, abouts, strict=True))
        ]

    def _ask(self, about: dict[str, Any], arrays: dict[str, Any]) -> None:
        if not self._ended.alive:
            raise UsageError(f"{self.name}: its sandbox was closed.")
        self._child.ask(about, arrays)

    def _answer(self, most: int) -> Frame:
        """The next frame; an error in it is raised here, as one of ours."""
        try:
            frame = self._child.answer(most)
        except ProtocolError as error:
            raise ProtocolError(f"{self.name}: {error}.") from error
        if "error" in frame.about:
            raise known_error(frame.about)
        return frame


def known_error(about: dict[str, Any]) -> OnepixelError:
    """The error that the child names, if it is one of onepixel's; its words are a stranger's."""
    kind = getattr(errors, str(about["error"]), None)
    sentence = one_line(about.get("sentence", ""), 600)
    if isinstance(kind, type) and issubclass(kind, OnepixelError):
        return kind(sentence)
    return AnswerError(sentence)


def is_count(found: object, least: int, most: int) -> bool:
    """Whether something is a whole number within bounds."""
    return isinstance(found, int) and not isinstance(found, bool) and least <= found <= most


def plain_details(found: object, levels: int = 2) -> dict[str, Any]:
    """What an engine says about itself: finite numbers, flags and short texts, and such tables of them."""
    if not isinstance(found, dict):
        return {}
    plain: dict[str, Any] = {}
    for key, value in list(found.items())[:MOST_SENTENCES]:
        if isinstance(value, str):
            plain[one_line(key, 60)] = one_line(value)
        elif isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
            plain[one_line(key, 60)] = value
        elif isinstance(value, dict) and levels > 1:
            plain[one_line(key, 60)] = plain_details(value, levels - 1)
    return plain
