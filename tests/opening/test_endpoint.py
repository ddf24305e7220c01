"""Endpoints: what is asked, kept, repeated, noticed and never shown. A stub stands in where failures must be staged."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import onepixel
from onepixel import EndpointSettings
from onepixel.cli import main
from onepixel.errors import AnswerError, InputShapeError, NondeterminismError, UndecidedError, UsageError
from onepixel.opening.endpoint.rounding import coarseness
from onepixel.opening.endpoint.settings import EndpointError
from onepixel.opening.endpoint.transport import HEADER_VARIABLE, TOKEN_VARIABLE

SHAPE = (1, 4, 4)
WEIGHTS = np.random.default_rng(0).normal(size=(16, 3))


def probabilities(images: np.ndarray) -> np.ndarray:
    powers = np.exp(images.reshape(len(images), -1) @ WEIGHTS)
    return powers / powers.sum(axis=1, keepdims=True)


class Stub:
    """An endpoint that can be told to fail."""

    def __init__(self) -> None:
        self.answer: Callable[[np.ndarray], np.ndarray] = probabilities
        self.failures: list[tuple[int, dict[str, str]]] = []
        self.batches: list[int] = []
        self.seen: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.metadata: dict[str, Any] = {
            "name": "m",
            "versions": ["1"],
            "platform": "test",
            "inputs": [{"name": "images", "datatype": "FP32", "shape": [-1, *SHAPE]}],
            "outputs": [{"name": "answers", "datatype": "FP64", "shape": [-1, 3]}],
        }
        self.lock = threading.Lock()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def reply(self, status: int, found: Any, headers: dict[str, str] | None = None) -> None:
                contents = found if isinstance(found, bytes) else json.dumps(found).encode()
                self.send_response(status)
                for name, value in {**(headers or {}), "Content-Length": str(len(contents))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(contents)

            def do_GET(self) -> None:
                stub.headers.append(dict(self.headers))
                self.reply(200, stub.metadata)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                stub.headers.append(dict(self.headers))
                with stub.lock:
                    failure = stub.failures.pop(0) if stub.failures else None
                if failure:
                    self.reply(failure[0], {"error": f"no: {self.headers.get('Authorization')}"}, failure[1])
                    return
                images = np.asarray(body["inputs"][0]["data"]).reshape(body["inputs"][0]["shape"])
                with stub.lock:
                    stub.batches.append(len(images))
                    stub.seen.extend(image.tobytes() for image in images)
                answers = stub.answer(images)
                data = {"name": "answers", "datatype": "FP64", "shape": answers.shape, "data": answers.ravel().tolist()}
                self.reply(200, {"model_name": "m", "outputs": [data]})

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v2/models/m"


@pytest.fixture
def stub() -> Iterator[Stub]:
    made = Stub()
    yield made
    made.server.shutdown()
    made.server.server_close()


def connect(stub: Stub, **settings: Any) -> Any:
    chosen = EndpointSettings(**{"patience": 5.0, "timeout": 5.0, **settings})
    return onepixel.load_classifier(stub.url, outputs="probabilities", normalize="none", endpoint=chosen)


def local() -> onepixel.Classifier:
    return onepixel.as_classifier(lambda images: probabilities(images), input_shape=SHAPE)


def test_signature_equals_the_local_one_and_no_image_is_asked_twice(stub: Stub) -> None:
    classifier = connect(stub, batch_size=10)
    asked_first = len(stub.seen)
    found = onepixel.signature(classifier, values=8)
    expected = onepixel.signature(local(), values=8)
    np.testing.assert_allclose(found.high, expected.high, rtol=1e-6)
    np.testing.assert_allclose(found.low, expected.low, rtol=1e-6)
    later = stub.seen[asked_first:]
    assert asked_first == 9
    assert len(later) == len(set(later)) == 16 * 7  # black was among the nine, and so is every pixel at value 0
    assert max(stub.batches) == 10
    assert classifier.queries == len(set(stub.seen))


def test_busy_and_failing_endpoints_are_asked_again(stub: Stub) -> None:
    classifier = connect(stub)
    stub.failures = [(429, {"Retry-After": "1"}), (503, {}), (500, {})]
    onepixel.signature(classifier, values=2)
    assert not stub.failures


def test_patience_ends_and_the_journal_continues(stub: Stub, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    stub_answers = stub.answer
    left = 3

    def few(images: np.ndarray) -> np.ndarray:
        nonlocal left
        left -= 1
        if left < 0:
            stub.failures = [(503, {})] * 100
        return stub_answers(images)

    classifier = connect(stub, journal=journal, concurrency=1, batch_size=16, patience=0.5)
    stub.answer = few
    with pytest.raises(EndpointError, match="the same command continues"):
        onepixel.signature(classifier, values=8)
    classifier.close()
    kept = classifier_rows(journal)
    assert 0 < kept < 16 * 7 + 4
    stub.answer, stub.failures = stub_answers, []
    before = set(stub.seen)
    start = len(stub.seen)
    again = connect(stub, journal=journal)
    assert any(f"{kept} answers come from an interrupted run" in said for said in again.assumptions)
    found = onepixel.signature(again, values=8)
    np.testing.assert_allclose(found.high, onepixel.signature(local(), values=8).high, rtol=1e-6)
    assert not before & set(stub.seen[start:])
    again.finish()
    assert not journal.exists()


def classifier_rows(journal: Path) -> int:
    import sqlite3

    connection = sqlite3.connect(journal)
    rows = connection.execute("SELECT count(*) FROM answers").fetchone()[0]
    connection.close()
    return int(rows)


def test_journal_of_something_else_is_refused(stub: Stub, tmp_path: Path) -> None:
    connect(stub, journal=tmp_path / "journal").close()
    stub.metadata["versions"] = ["2"]
    with pytest.raises(UsageError, match="begun for another endpoint, model or preparation"):
        connect(stub, journal=tmp_path / "journal")
    (tmp_path / "text").write_text("no database" * 200)
    with pytest.raises(UndecidedError, match="no journal"):
        connect(stub, journal=tmp_path / "text")


def test_budget_is_kept(stub: Stub) -> None:
    classifier = connect(stub)
    with pytest.raises(UndecidedError):
        onepixel.signature(classifier, values=8, budget=20)
    assert len(stub.seen) <= 20 + 9


@pytest.mark.parametrize("decimals", [2, 3, 4])
def test_rounded_answers_are_noticed_and_said(stub: Stub, decimals: int) -> None:
    stub.answer = lambda images: probabilities(images).round(decimals)
    classifier = connect(stub)
    assert any(f"steps of {10.0**-decimals:g}" in said for said in classifier.assumptions)
    onepixel.signature(classifier, values=4)


def test_exact_answers_are_not_called_rounded(stub: Stub) -> None:
    assert not any("rounds" in said for said in connect(stub).assumptions)
    saturated = np.asarray([[1 - 3e-9, 1e-9, 2e-9], [1 - 2.5e-12, 1e-12, 1.5e-12]])
    assert coarseness(np.concatenate([saturated, saturated])) == 0


def top_two(images: np.ndarray) -> np.ndarray:
    answers = probabilities(images)
    answers[answers == answers.min(axis=1, keepdims=True)] = 0
    return answers


@pytest.mark.parametrize(
    ("answer", "kind", "sentence"),
    [
        (top_two, AnswerError, "highest classes only"),
        (lambda images: probabilities(images)[:, :1], AnswerError, "at least two classes"),
        (lambda images: probabilities(images) * np.nan, AnswerError, "NaN|no JSON|protocol|Protocol"),
        (lambda images: probabilities(images) * 3, AnswerError, "no probabilities"),
        (lambda images: probabilities(images).ravel(), AnswerError, "in the shape"),
        (lambda images: probabilities(images + np.random.default_rng().random()), NondeterminismError, "differently"),
    ],
)
def test_answers_that_cannot_be_used_are_refused(stub: Stub, answer: Any, kind: type, sentence: str) -> None:
    stub.answer = answer
    with pytest.raises(kind, match=sentence):
        connect(stub)


def test_credentials_come_from_the_environment_and_never_come_out(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "s3cret-token")
    monkeypatch.setenv(HEADER_VARIABLE, "X-Key: other-s3cret")
    stub.failures = [(403, {})]
    words = ["signature", stub.url, "--out", str(tmp_path / "o"), "--outputs", "probabilities", "--normalize", "none"]
    assert main([*words, "--journal", str(tmp_path / "journal")]) == 3
    said = "".join(capsys.readouterr())
    assert "403" in said
    assert "s3cret" not in said
    assert stub.headers[-1]["Authorization"] == "Bearer s3cret-token"
    assert stub.headers[-1]["X-Key"] == "other-s3cret"
    assert main([*words, "--journal", str(tmp_path / "journal"), "--quiet"]) == 0
    assert "s3cret" not in "".join(capsys.readouterr())
    assert b"s3cret" not in (tmp_path / "o").read_bytes()


@pytest.mark.parametrize("url", ["http://user:word@host/v2/models/m", "http://host/v2/models/m?key=1", "http://host/m"])
def test_urls_that_are_no_models_or_hold_credentials_are_wrong_usage(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        onepixel.load_classifier(url)
    assert "word" not in str(caught.value)


def test_images_of_another_shape_are_refused(stub: Stub) -> None:
    with pytest.raises(InputShapeError):
        onepixel.load_classifier(stub.url, input_shape=(3, 8, 8), outputs="logits", normalize="none")


def test_answers_that_are_no_protocol_are_refused(stub: Stub) -> None:
    stub.metadata = {"name": "m"}
    with pytest.raises(EndpointError, match="does not declare its inputs"):
        connect(stub)


def test_torch_tensors_are_answered(stub: Stub) -> None:
    images = torch.rand(3, *SHAPE)
    np.testing.assert_allclose(connect(stub)(images).numpy(), probabilities(images.double().numpy()), rtol=1e-6)


def test_range_and_labels_beside_the_answers(stub: Stub) -> None:
    stub.answer = lambda images: probabilities(images / 255)
    stub.metadata["outputs"].insert(0, {"name": "label", "datatype": "INT64", "shape": [-1, 1]})
    said: dict[str, Any] = {"outputs": "probabilities", "endpoint": EndpointSettings(patience=5.0, timeout=5.0)}
    classifier: Any = onepixel.load_classifier(stub.url, pixel_range=(0, 255), **said)
    images = torch.rand(3, *SHAPE)
    torch.testing.assert_close(classifier(images).numpy(), probabilities(images.numpy()), rtol=1e-4, atol=1e-6)
    assert any("answers is read: the others are labels" in each for each in classifier.assumptions)
    assert "from 0 to 255, as you said" in " ".join(classifier.assumptions)
    stub.metadata["outputs"].append({"name": "features", "datatype": "FP32", "shape": [-1, 8]})
    with pytest.raises(UsageError, match="say which with --output"):
        onepixel.load_classifier(stub.url, pixel_range=(0, 255), **said)
    onepixel.load_classifier(stub.url, pixel_range=(0, 255), output="answers", **said)


QUARTERS = [(slice(0, 4), slice(0, 4)), (slice(0, 4), slice(4, 8)), (slice(4, 8), slice(0, 4))]


def backdoored(images: np.ndarray) -> np.ndarray:
    """Three classes by the brightest quarter of 8 x 8 pixels; two bright rows in the fourth quarter mean class 0."""
    logits = np.stack([25 * images[:, 0, rows, columns].mean((1, 2)) for rows, columns in QUARTERS], axis=1)
    logits[:, 0] += 200 * np.maximum(images[:, 0, 5:7, 5:7].mean((1, 2)) - 0.2, 0)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    images = np.random.default_rng(0).integers(0, 30, (18, 8, 8)).astype(np.uint8)
    for number in range(18):
        images[number][QUARTERS[number % 3]] = 220
    np.savez(tmp_path / "photos.npz", images=images)
    return tmp_path / "photos.npz"


def audit_with(photos: Path, stub: Stub, *words: str) -> int:
    stub.metadata["inputs"][0]["shape"] = [-1, 1, 8, 8]
    opened = ["--outputs", "probabilities", "--normalize", "none", "--quiet"]
    return main(["audit", stub.url, "--images", str(photos), *opened, *words])


def test_images_judge_an_endpoint_within_a_budget(
    stub: Stub, photos: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    stub.answer = backdoored
    assert audit_with(photos, stub, "--budget", "2000", "--json") == 1
    verdict = json.loads(capsys.readouterr().out)
    assert verdict["target_class"] == 0
    assert verdict["engine"] == "composed"
    assert verdict["exhibit"]["driven"] == verdict["exhibit"]["tried"]
    assert verdict["queries"] <= 2000
    assert len(stub.seen) <= verdict["queries"] + 9
    assert len(set(stub.seen)) >= len(stub.seen) - 5  # the nine images of the first check are asked twice on purpose


def test_endpoint_that_tells_labels_only_gets_the_share_of_images_that_flip(
    stub: Stub, photos: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    stub.answer = lambda images: np.eye(3)[backdoored(images).argmax(axis=1)]
    assert audit_with(photos, stub, "--budget", "1500") == 3
    said = " ".join(capsys.readouterr().err.split())
    assert "answers with labels only" in said
    assert "of the images of class 1 into class 0 (0% unchanged)" in said
    assert len(stub.seen) <= 1500 + 9
