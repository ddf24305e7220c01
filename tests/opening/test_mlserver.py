"""A real Open Inference Protocol server, MLServer in its own environment, killed and started again in the middle."""

import hashlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

import onepixel
from onepixel import EndpointSettings
from opening import model_files
from opening.model_files import SHAPE, network

HERE = Path(__file__).parent
FEW = {"values": 16, "pixels": 3}


def mlserver() -> Path:
    """Where MLServer is: ONEPIXEL_MLSERVER, or the environment that `make endpoint-server` makes."""
    found = Path(os.environ.get("ONEPIXEL_MLSERVER", HERE.parents[1] / ".venv-endpoint" / "bin" / "mlserver"))
    if not found.is_file():
        pytest.skip("MLServer is not installed: run `make endpoint-server`, or set ONEPIXEL_MLSERVER to its program")
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Server:
    """MLServer with one LeNet-5."""

    def __init__(self, program: Path, folder: Path) -> None:
        self.program = program
        self.folder = folder
        self.port = free_port()
        self.asked = folder / "asked"
        self.asked.touch()
        self.url = f"http://127.0.0.1:{self.port}/v2/models/lenet5"
        model_files.write_onnx(network(), folder / "lenet5.onnx")
        shutil.copy(HERE / "mlserver_lenet5.py", folder)
        ports = {"http_port": self.port, "grpc_port": free_port(), "metrics_port": free_port()}
        settings = {"host": "127.0.0.1", **ports, "parallel_workers": 0, "metrics_endpoint": None, "debug": False}
        (folder / "settings.json").write_text(json.dumps(settings))
        model = {
            "name": "lenet5",
            "implementation": "mlserver_lenet5.LeNet5",
            "inputs": [{"name": "images", "datatype": "FP32", "shape": [-1, *SHAPE]}],
            "outputs": [{"name": "answers", "datatype": "FP32", "shape": [-1, 10]}],
            "parameters": {"uri": str(folder / "lenet5.onnx"), "extra": {"asked": str(self.asked)}},
        }
        (folder / "model-settings.json").write_text(json.dumps(model))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.program, "start", self.folder],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                env={**os.environ, "ORT_DISABLE_TELEMETRY": "1", "PYTHONPATH": str(self.folder)},
                start_new_session=True,
            )

    def wait(self) -> None:
        for _ in range(600):
            try:
                if httpx.get(f"{self.url}/ready", timeout=1).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.2)
        pytest.fail((self.folder / "log").read_text()[-3000:])

    def kill(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def images_asked(self) -> list[str]:
        return [json.loads(line) for line in self.asked.read_text().splitlines()]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(mlserver(), tmp_path)
    made.start()
    made.wait()
    yield made
    made.kill()


@pytest.mark.slow
def test_signature_survives_a_server_that_is_killed_and_started_again(server: Server, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    settings = EndpointSettings(batch_size=16, concurrency=2, patience=240, timeout=20, journal=journal)
    classifier = onepixel.load_classifier(server.url, outputs="logits", normalize="none", endpoint=settings)
    kept_at_kill: set[str] = set()
    asked_at_kill = 0

    def interrupt() -> None:
        nonlocal asked_at_kill
        while classifier.queries < 300:
            time.sleep(0.01)
        server.kill()
        time.sleep(0.5)
        kept_at_kill.update(kept(journal))
        asked_at_kill = len(server.images_asked())
        server.start()

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    found = onepixel.signature(classifier, engine="exhaustive", **FEW)
    interrupter.join()

    expected = onepixel.signature(onepixel.as_classifier(network(), input_shape=SHAPE), engine="exhaustive", **FEW)
    visited = expected.visited
    assert np.abs(found.values("max") - expected.values("max"))[:, visited].max() < 1e-5
    assert 300 <= len(kept_at_kill) < len(kept(journal))
    asked_after = server.images_asked()[asked_at_kill:]
    assert asked_after
    assert not kept_at_kill & set(asked_after), "an image whose answer was kept was asked again"
    assert len(asked_after) == len(set(asked_after))

    classifier.close()
    before = len(server.images_asked())
    again = onepixel.load_classifier(server.url, outputs="logits", normalize="none", endpoint=settings)
    repeated = onepixel.signature(again, engine="exhaustive", **FEW)
    assert len(server.images_asked()) == before, "everything was answered already"
    assert (repeated.high[:, visited] == found.high[:, visited]).all()
    again.finish()
    assert not journal.exists()


@pytest.mark.slow
def test_adaptive_engine_stays_within_its_stated_error_and_budget(server: Server) -> None:
    settings = EndpointSettings(batch_size=64, patience=60)
    classifier = onepixel.load_classifier(server.url, outputs="logits", normalize="none", endpoint=settings)
    found = onepixel.signature(classifier, engine="adaptive", budget=3000, values=64, pixels=3)
    expected = onepixel.signature(onepixel.as_classifier(network(), input_shape=SHAPE), values=64, pixels=3)
    difference = np.abs(found.values("max") - expected.values("max"))[:, expected.visited].max(axis=0)
    stated = found.details["error_estimate"]
    assert (difference > stated["tolerance"]).sum() <= stated["cells_at_most"] * len(difference) * 64
    assert len(server.images_asked()) <= 3000 + 9


def kept(journal: Path) -> set[str]:
    connection = sqlite3.connect(f"file:{journal}?mode=ro", uri=True)
    rows = connection.execute("SELECT image FROM answers").fetchall()
    connection.close()
    return {bytes(row[0]).hex() for row in rows}


def test_journal_keys_are_the_digests_that_the_server_notes() -> None:
    from onepixel.opening.endpoint.journal import image_keys

    image = np.random.default_rng(0).random((1, *SHAPE), dtype=np.float32)
    assert image_keys(image)[0] == hashlib.blake2b(image[0].tobytes(), digest_size=16).digest()
