"""A remote endpoint that speaks the Open Inference Protocol v2 over HTTP, as KServe, Triton and MLServer do.

Every query may cost money and every request may fail: images are asked once, answers are kept as they come, and a
request that fails is repeated with growing pauses. What comes back is a stranger's and is checked as such.
"""

import hashlib
import json
import os
import random
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onepixel.classifiers.base import Outputs, check_answers
from onepixel.classifiers.journal import Journal, image_keys
from onepixel.errors import AnswerError, UndecidedError, UsageError
from onepixel.opening.answers import require_single_answer, settle_outputs
from onepixel.opening.limits import one_line
from onepixel.opening.preparation import BYTES, image_layout, in_batches, preparation, value_range
from onepixel.opening.request import Normalization

TOKEN_VARIABLE = "ONEPIXEL_ENDPOINT_TOKEN"
HEADER_VARIABLE = "ONEPIXEL_ENDPOINT_HEADER"
REPEATABLE = {408, 425, 429, 500, 502, 503, 504}
LONGEST_PAUSE = 30.0
MOST_BYTES = 64 * 2**20
TYPES: dict[str, Any] = {"FP32": np.float32, "FP64": np.float64, "FP16": np.float16, "UINT8": np.uint8}
MOST_DECIMALS = 6
LEAST_TELLING = 4


class EndpointError(UndecidedError):
    """An endpoint does not answer, or answers something else than the protocol says."""


@dataclass(frozen=True)
class EndpointSettings:
    """How an endpoint is asked.

    Attributes
    ----------
    batch_size : int
        Images per request.
    concurrency : int
        Requests at the same time.
    timeout : float
        Seconds until one request is given up.
    patience : float
        Seconds for which a failing endpoint is asked again, with growing pauses, before it is an error.
    journal : Path or None
        Where answers are kept, so that an interrupted audit continues without asking again: a file, or a folder, in
        which every endpoint, model and preparation then gets a file of its own. None keeps them in memory.
    """

    batch_size: int = 64
    concurrency: int = 4
    timeout: float = 30.0
    patience: float = 300.0
    journal: Path | None = None


def journal_folder() -> Path:
    """Where the command line keeps journals: in the user's state folder (XDG_STATE_HOME); it is made if need be.

    Raises
    ------
    UsageError
        If it cannot be made.
    """
    folder = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "onepixel"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"Cannot make the folder {folder} for a journal; name a file with --journal.") from error
    return folder


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

    Attributes
    ----------
    queries : int
        Images that were answered, the journal's included.
    assumptions : tuple of str
        What was assumed and noticed.

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
    ) -> None:
        self.url = checked_url(url)
        self.settings = settings
        self.name = self.url
        self._caller = Caller(self.url, settings)
        metadata = self._caller.metadata()
        taken, given = tensors(metadata, "inputs"), tensors(metadata, "outputs")
        if len(taken) != 1:
            raise AnswerError(f"{self.name} takes {len(taken)} tensors; onepixel needs exactly one batch of images.")
        require_single_answer(given, self.name)
        self._input, self._output = taken[0], given[0]
        if self._input.datatype not in TYPES:
            raise AnswerError(f"{self.name} takes {self._input.datatype}, which is no image type.")
        layout = image_layout(self._input.shape, input_shape, self.name)
        declared = BYTES if self._input.datatype == "UINT8" else None
        values = value_range(normalize, declared, layout.input_shape[0], self.name)
        self.outputs, kind = settle_outputs(outputs, "", self.name)
        self.input_shape = layout.input_shape
        self._batch = layout.batch
        self._prepare = preparation(layout, values)
        about = {
            "endpoint": self.url,
            "model": json.dumps([metadata.get("name"), metadata.get("versions"), metadata.get("platform")]),
            "images": json.dumps([layout.input_shape, layout.channels_last, values.mean, values.std, values.whole]),
        }
        self._journal = Journal(journal_file(settings.journal, about), about)
        self._pool = ThreadPoolExecutor(settings.concurrency, thread_name_prefix="endpoint")
        resumed = len(self._journal)
        self.assumptions: tuple[str, ...] = (layout.sentence, values.sentence, kind)
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


@dataclass(frozen=True)
class TensorMetadata:
    """One tensor as the endpoint's metadata declares it; None for open axes."""

    name: str
    datatype: str
    shape: tuple[int | None, ...]


def tensors(metadata: dict[str, Any], which: str) -> list[TensorMetadata]:
    """The declared inputs or outputs.

    Raises
    ------
    EndpointError
        If the metadata does not follow the protocol.
    """
    try:
        return [
            TensorMetadata(
                str(tensor["name"]),
                str(tensor["datatype"]),
                tuple(size if size > 0 else None for size in tensor["shape"]),
            )
            for tensor in metadata[which]
        ]
    except (KeyError, TypeError) as error:
        raise EndpointError(f"The endpoint's metadata does not declare its {which} as the protocol asks.") from error


def checked_url(url: str) -> str:
    """The URL without a trailing slash.

    Raises
    ------
    UsageError
        If it is no model's URL, or holds credentials.
    """
    parts = urlsplit(url)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UsageError(
            f"Credentials do not belong into a URL; put a token into the environment variable {TOKEN_VARIABLE}, or "
            f"a whole header into {HEADER_VARIABLE}."
        )
    path = parts.path.rstrip("/")
    if not parts.hostname or not re.search(r"/v2/models/[^/]+(/versions/[^/]+)?$", path):
        raise UsageError(f"Expected a URL such as http://host/v2/models/NAME but got {one_line(url, 120)}.")
    return f"{parts.scheme}://{parts.netloc}{path}"


def credentials() -> dict[str, str]:
    """The headers that the environment asks for.

    Raises
    ------
    UsageError
        If the header is none.
    """
    headers = {}
    token, header = os.environ.get(TOKEN_VARIABLE), os.environ.get(HEADER_VARIABLE)
    if token:
        headers["Authorization"] = f"Bearer {token}"
    if header:
        name, colon, value = header.partition(":")
        if not colon or not name.strip():
            raise UsageError(f"Expected {HEADER_VARIABLE} to be of the form 'Name: value'.")
        headers[name.strip()] = value.strip()
    return headers


class Caller:
    """HTTP to one model: requests that are repeated while the endpoint is down or busy, and answers of bounded size."""

    def __init__(self, url: str, settings: EndpointSettings) -> None:
        try:
            import httpx
        except ImportError as error:
            raise UsageError('Endpoints need httpx: pip install "onepixel[endpoint]".') from error
        self._httpx = httpx
        self.url = url
        self.settings = settings
        headers = credentials()
        self.exposed = bool(headers) and url.startswith("http://") and not is_local(url)
        self._secrets = [value for value in headers.values() if value]
        try:
            self._client = httpx.Client(
                headers={"Accept": "application/json", "Accept-Encoding": "identity", **headers},
                timeout=settings.timeout,
                # A redirect would carry the credentials somewhere else.
                follow_redirects=False,
                limits=httpx.Limits(max_connections=settings.concurrency + 1),
            )
        except (ValueError, UnicodeError) as error:
            raise UsageError("The credentials in the environment are no valid HTTP header.") from error
        self._stopped = threading.Event()

    def metadata(self) -> dict[str, Any]:
        """What the endpoint says about its model."""
        return self._repeated("GET", self.url, None)

    def infer(self, name: str, datatype: str, output: str, tensor: NDArray[Any]) -> NDArray[np.floating]:
        """Send one tensor and read the one that comes back."""
        sent = {"name": name, "shape": list(tensor.shape), "datatype": datatype, "data": tensor.ravel().tolist()}
        found = self._repeated("POST", f"{self.url}/infer", {"inputs": [sent], "outputs": [{"name": output}]})
        return read_tensor(found, output)

    def give_up(self) -> None:
        """Repeat no request any more."""
        self._stopped.set()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _repeated(self, method: str, url: str, body: dict[str, Any] | None) -> dict[str, Any]:
        """One request, again and again with growing pauses for as long as the patience lasts."""
        contents = None if body is None else json.dumps(body).encode()
        patience = time.monotonic() + self.settings.patience
        pause = 0.25
        while True:
            reason, wish = "", 0.0
            try:
                status, answer, wish = self._once(method, url, contents)
            except self._httpx.HTTPError as error:
                status, answer, reason = 0, b"", type(error).__name__
            if status == 200:
                return parsed(answer)
            if status and status not in REPEATABLE:
                said = self._scrubbed(one_line(answer.decode("utf-8", "replace"), 160))
                raise EndpointError(f"{self.url} answered with HTTP status {status}: {said}")
            wait = max(min(pause * random.uniform(0.75, 1.25), LONGEST_PAUSE), min(wish, 2 * LONGEST_PAUSE))
            if time.monotonic() + wait > patience or self._stopped.wait(wait):
                what = reason or f"HTTP status {status}"
                raise EndpointError(
                    f"{self.url} gave no answer for {self.settings.patience:g} s ({what}); the answers so far are "
                    "kept in the journal, if there is one, and the same command continues from there."
                )
            pause *= 2

    def _once(self, method: str, url: str, contents: bytes | None) -> tuple[int, bytes, float]:
        """One request: status, body of bounded size, and the pause in seconds that the endpoint wishes for."""
        headers = {"Content-Type": "application/json"} if contents is not None else {}
        deadline = time.monotonic() + self.settings.timeout
        answer = bytearray()
        with self._client.stream(method, url, content=contents, headers=headers) as response:
            for chunk in response.iter_bytes():
                answer += chunk
                if len(answer) > MOST_BYTES:
                    raise EndpointError(f"{self.url} answered with more than {MOST_BYTES} bytes.")
                if time.monotonic() > deadline:
                    raise self._httpx.ReadTimeout("the answer came too slowly")
            wish = response.headers.get("Retry-After", "")
            return response.status_code, bytes(answer), float(wish) if wish.isdigit() else 0.0

    def _scrubbed(self, text: str) -> str:
        """A text without the credentials, in case the endpoint sends them back."""
        for secret in self._secrets:
            for word in {secret, secret.removeprefix("Bearer ")}:
                text = text.replace(word, "***")
        return text


def is_local(url: str) -> bool:
    """Whether a URL stays on this machine."""
    return urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")


def parsed(answer: bytes) -> dict[str, Any]:
    """A JSON object.

    Raises
    ------
    EndpointError
        If the answer is none.
    """
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError) as error:
        raise EndpointError("The endpoint answered something that is no JSON.") from error
    if not isinstance(found, dict):
        raise EndpointError("The endpoint answered something that is no JSON object.")
    return found


def read_tensor(found: dict[str, Any], name: str) -> NDArray[np.floating]:
    """The named tensor of an inference response.

    Raises
    ------
    EndpointError
        If it is not there, or its data do not fit its shape.
    """
    try:
        tensor = next(tensor for tensor in found["outputs"] if tensor["name"] == name)
        if str(tensor["datatype"]) not in ("FP16", "FP32", "FP64"):
            raise AnswerError(f"The endpoint answers {one_line(tensor['datatype'], 20)}, not numbers per class.")
        shape = tuple(int(size) for size in tensor["shape"])
        return np.asarray(tensor["data"], dtype=np.float64).reshape(shape)
    except AnswerError:
        raise
    except (StopIteration, KeyError, TypeError, ValueError, MemoryError) as error:
        raise EndpointError("The endpoint's answer does not follow the Open Inference Protocol v2.") from error


def distributions(answers: NDArray[np.float64], step: float, name: str) -> NDArray[np.float64]:
    """Probabilities (N, K) whose rows sum to 1 again where an endpoint's rounding in steps has spoiled that.

    Raises
    ------
    AnswerError
        If classes are left out (exact zeros, and rows that sum to less than 1): such answers are no distribution.
    """
    sums = answers.sum(axis=1, keepdims=True)
    short = (sums < 1 - max(1e-3, answers.shape[1] * step)) & (sums > 0)
    if (short & (answers >= 0).all(axis=1, keepdims=True) & (answers == 0).any(axis=1, keepdims=True)).any():
        raise AnswerError(
            f"{name} reports its highest classes only (the others are 0, and the rest does not sum to 1); "
            "a one-pixel signature needs one distribution over all K classes."
        )
    rounded = step > 0 and (np.abs(sums - 1) <= answers.shape[1] * step).all() and (answers >= 0).all()
    return answers / sums if rounded else answers


def coarseness(answers: NDArray[np.float64]) -> float:
    """The step of the coarsest decimal grid, from 0.1 to 0.000001, on which all answers lie; 0 if there is none."""
    telling = answers[(answers != 0) & (answers != 1)]
    if telling.size < LEAST_TELLING:
        return 0.0
    for decimals in range(1, MOST_DECIMALS + 1):
        scaled = telling * 10.0**decimals
        if (np.abs(scaled - np.rint(scaled)) <= 1e-6 * np.abs(scaled)).all():
            return float(10.0**-decimals)
    return 0.0


def notices(answers: NDArray[np.float64], step: float, outputs: Outputs) -> list[str]:
    """What is odd about an endpoint's first answers, as sentences for the verdict."""
    found = []
    if step:
        found.append(
            f"The endpoint rounds or cuts off its answers (steps of {step:g}); small changes are lost in that, and "
            "the signature is as coarse as they are."
        )
    zeros = float((answers == 0).mean())
    if outputs == "probabilities" and zeros > 0:
        found.append(f"{100 * zeros:.0f} % of the endpoint's first probabilities are exactly 0.")
    return found
