"""HTTP to an endpoint: credentials, requests that are repeated with growing pauses, answers of bounded size."""

import json
import os
import random
import re
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from onepixel.errors import UsageError
from onepixel.opening.endpoint.settings import EndpointError, EndpointSettings
from onepixel.opening.endpoint.tensors import read_tensor
from onepixel.printable import one_line

TOKEN_VARIABLE = "ONEPIXEL_ENDPOINT_TOKEN"
HEADER_VARIABLE = "ONEPIXEL_ENDPOINT_HEADER"
REPEATABLE = {408, 425, 429, 500, 502, 503, 504}
LONGEST_PAUSE = 30.0
MOST_BYTES = 64 * 2**20


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
