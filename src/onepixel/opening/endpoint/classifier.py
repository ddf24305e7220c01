"""A remote endpoint as a classifier: images are asked once, and every answer is kept as it comes."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onepixel.classifiers.base import Outputs, check_answers
from onepixel.errors import AnswerError
from onepixel.opening.answers import choose_answer, settle_outputs
from onepixel.opening.endpoint.journal import Journal, image_keys
from onepixel.opening.endpoint.rounding import coarseness, distributions, notices
from onepixel.opening.endpoint.settings import EndpointSettings
from onepixel.opening.endpoint.tensors import TYPES, tensors
from onepixel.opening.endpoint.transport import Caller, checked_url
from onepixel.opening.preparation import BYTES, image_layout, in_batches, preparation, value_range
from onepixel.opening.request import Normalization

FRACTIONS = {"FP16", "FP32", "FP64", "BF16"}


class EndpointClassifier:
    """An Open Inference Protocol v2 endpoint as a `Classifier`.

    Parameters
    ----------
    url : str
        `http://host/v2/models/NAME`, or with `/versions/VERSION`.
    settings : EndpointSettings
    input_shape : (C, H, W), optional
        Needed where the endpoint's metadata leaves it open.
    outputs : {"logits", "probabilities"}
        An endpoint does not show it, so it has to be said.
    normalize : (means, standard deviations) or "none"
        As for files.
    pixel_range : (lowest, highest), optional
        As for files.
    output : str, optional
        Which of several answers, by name or number.

    Attributes
    ----------
    queries : int
        Images that were answered, the journal's included.
    assumptions : tuple of str
        What was assumed and noticed.
    range_unsure : bool
        Whether a user said that images stay as they are, and nothing else says so: it may be a mistake.

    Raises
    ------
    UsageError
        If the URL is no such URL or holds credentials, httpx is not installed, or something has to be said first.
    EndpointError
        If it does not answer in time, or answers something else than the protocol says.
    UndecidedError
        If its answers cannot be used.
    """

    device = torch.device("cpu")
    dtype = torch.float32

    def __init__(
        self,
        url: str,
        settings: EndpointSettings,
        *,
        input_shape: tuple[int, int, int] | None = None,
        outputs: Outputs | None = None,
        normalize: Normalization | None = None,
        pixel_range: tuple[float, float] | None = None,
        output: str | None = None,
    ) -> None:
        self.url = checked_url(url)
        self.settings = settings
        self.name = self.url
        self._caller = Caller(self.url, settings)
        metadata = self._caller.metadata()
        taken, given = tensors(metadata, "inputs"), tensors(metadata, "outputs")
        if len(taken) != 1:
            raise AnswerError(f"{self.name} takes {len(taken)} tensors; onepixel needs exactly one batch of images.")
        if not given:
            raise AnswerError(f"{self.name} declares no answer.")
        names, fractions = [each.name for each in given], [each.datatype in FRACTIONS for each in given]
        chosen, which = choose_answer(names, fractions, output, self.name)
        self._input, self._output = taken[0], given[chosen]
        if self._input.datatype not in TYPES:
            raise AnswerError(f"{self.name} takes {self._input.datatype}, which is no image type.")
        layout = image_layout(self._input.shape, input_shape, self.name)
        declared = BYTES if self._input.datatype == "UINT8" else None
        values = value_range(normalize, declared, layout.input_shape[0], self.name, pixel_range)
        self.range_unsure = values.unsure
        self.outputs, kind = settle_outputs(outputs, "", self.name)
        self.input_shape = layout.input_shape
        self._batch = layout.batch
        self._prepare = preparation(layout, values)
        about = {
            "endpoint": self.url,
            "model": json.dumps([metadata.get("name"), metadata.get("versions"), metadata.get("platform")]),
            "images": json.dumps([layout.input_shape, layout.channels_last, values.mean, values.std, values.whole]),
        }
        if which:
            about["answer"] = self._output.name
        self._journal = Journal(journal_file(settings.journal, about), about)
        self._pool = ThreadPoolExecutor(settings.concurrency, thread_name_prefix="endpoint")
        resumed = len(self._journal)
        self.assumptions: tuple[str, ...] = tuple(
            sentence for sentence in (layout.sentence, values.sentence, which, kind) if sentence
        )
        self._step = 0.0
        self._first_answers: list[NDArray[np.float64]] | None = None
        self.classes = self._checked_classes()
        if resumed:
            self.assumptions += (f"{resumed} answers come from an interrupted run of the same audit.",)
        if self._caller.exposed:
            self.assumptions += ("The credentials were sent over unencrypted HTTP.",)

    @property
    def queries(self) -> int:
        """Images that were answered, the journal's included."""
        return len(self._journal)

    def _checked_classes(self) -> int:
        """K, after nine images that show whether the answers can be used; asked once per journal."""
        kept = self._journal.note("checked")
        if kept is not None:
            classes, self._step, notes = json.loads(kept)
            self.assumptions += tuple(notes)
            return int(classes)
        self._first_answers = []
        classes = check_answers(self)
        first = np.concatenate(self._first_answers)
        self._first_answers = None
        self._step = coarseness(first)
        notes = notices(first, self._step, self.outputs)
        self.assumptions += tuple(notes)
        self._journal.keep_note("checked", json.dumps([classes, self._step, notes]))
        return classes

    def __call__(self, images: Tensor) -> Tensor:
        """Answer images (N, C, H, W) with (N, K); those that were answered before are not asked again."""
        batch = np.ascontiguousarray(images.numpy())
        if self._first_answers is None:
            answers, step = self._answered(batch), self._step
        else:
            # The same image is asked twice on purpose here, so the journal is not consulted.
            answers = self._asked(batch)
            self._first_answers.append(answers)
            step = coarseness(np.concatenate(self._first_answers))
            self._journal.keep(image_keys(batch), answers)
        if self.outputs == "probabilities":
            answers = distributions(answers, step, self.name)
        return torch.from_numpy(answers)

    def _answered(self, images: NDArray[np.float32]) -> NDArray[np.float64]:
        keys = image_keys(images)
        known = self._journal.known(list(dict.fromkeys(keys)))
        places = {key: place for place, key in enumerate(keys) if key not in known}
        new = list(places)
        size = self._batch or self.settings.batch_size
        chunks = [new[start : start + size] for start in range(0, len(new), size)]

        def ask(chunk: list[bytes]) -> None:
            answers = self._asked(images[[places[key] for key in chunk]])
            self._journal.keep(chunk, answers)

        asking = [self._pool.submit(ask, chunk) for chunk in chunks]
        try:
            for finished in asking:
                finished.result()
        finally:
            for waiting in asking:
                waiting.cancel()
        known |= self._journal.known(new)
        return np.stack([known[key] for key in keys])

    def _asked(self, images: NDArray[np.float32]) -> NDArray[np.float64]:
        """Ask images that are not known yet, in the batches that the endpoint takes."""
        return in_batches(self._request, self._prepare(images), self._batch).astype(np.float64)

    def _request(self, tensor: NDArray[np.float32]) -> NDArray[np.floating]:
        sent = tensor.astype(TYPES[self._input.datatype], copy=False)
        answers = self._caller.infer(self._input.name, self._input.datatype, self._output.name, sent)
        expected = getattr(self, "classes", None)
        if answers.ndim != 2 or len(answers) != len(tensor) or (expected is not None and answers.shape[1] != expected):
            shape = f"({len(tensor)}, {expected or 'K'})"
            raise AnswerError(f"{self.name} answered in the shape {answers.shape}, not {shape}.")
        if not np.isfinite(answers).all():
            raise AnswerError(f"{self.name} answered NaN or infinity.")
        return answers

    def close(self) -> None:
        """End the connections; the journal stays, and the same audit continues from it."""
        self._end_connections()
        self._journal.close()

    def finish(self) -> None:
        """End the connections and remove the journal: the audit is done."""
        self._end_connections()
        self._journal.remove()

    def _end_connections(self) -> None:
        """Let requests on their way come back, so that their answers are kept, and repeat none of them."""
        self._caller.give_up()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._caller.close()


def journal_file(wanted: Path | None, about: dict[str, str]) -> Path | None:
    """The journal itself, where a folder was named one that belongs to these answers only."""
    if wanted is None or not wanted.is_dir():
        return wanted
    return wanted / f"{hashlib.sha256(json.dumps(about).encode()).hexdigest()[:24]}.journal"
