"""ONNX Runtime with limits on time and memory, from bytes alone, and kept from reporting to its maker."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from onepixel.errors import AnswerError, ModelFileError, UsageError
from onepixel.opening.limits import Limits, address_space_capped
from onepixel.printable import one_line


def onnx_packages() -> tuple[Any, Any]:
    """`onnx` and `onnxruntime`, which is kept from reporting to its maker what it is used for.

    Raises
    ------
    UsageError
        If they are not installed.
    """
    # Read when the library starts; from version 1.29 on it uploads events on Linux too.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise UsageError('ONNX files need ONNX Runtime: pip install "onepixel[onnx]".') from error
    return onnx, onnxruntime


@contextmanager
def after(seconds: float, action: Any) -> Iterator[None]:
    """Call `action` once, if the block is still running after that many seconds."""
    timer = threading.Timer(seconds, action)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def start_session(onnxruntime: Any, contents: bytes, limits: Limits, name: str) -> Any:
    """An ONNX Runtime session on the processor, from bytes alone; starting it is limited in time.

    Raises
    ------
    ModelFileError
        If it takes too long; everything else that ONNX Runtime throws is left to the caller.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()
    # Threads that spin while they wait take the processor from everything else, images being made included.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    late = threading.Event()

    def cancel() -> None:
        late.set()
        options.set_load_cancellation_flag(True)

    with after(limits.call_seconds, cancel):
        try:
            return onnxruntime.InferenceSession(
                contents, options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
        except Exception as error:
            if late.is_set():
                raise ModelFileError(f"{name} took more than {limits.call_seconds:g} s to open.") from error
            raise


def run_session(
    onnxruntime: Any, session: Any, wanted: str, feed: dict[str, Any], limits: Limits, name: str
) -> NDArray[np.floating]:
    """Ask one batch, with limits on time and memory.

    Raises
    ------
    AnswerError
        If the network fails, takes too long, or answers something that is no array of numbers.
    """
    run = onnxruntime.RunOptions()
    run.log_severity_level = 4
    late = threading.Event()

    def stop() -> None:
        late.set()
        run.terminate = True

    with address_space_capped(limits.memory_bytes), after(limits.call_seconds, stop):
        try:
            answers = session.run([wanted], feed, run)[0]
        except Exception as error:
            if late.is_set():
                raise AnswerError(f"{name} took more than {limits.call_seconds:g} s for one batch.") from error
            raise AnswerError(f"{name} failed on a batch of images: {one_line(error)}.") from error
    if not isinstance(answers, np.ndarray) or answers.dtype.kind != "f":
        raise AnswerError(f"{name} answers with {type(answers).__name__}, not with one array of numbers per image.")
    return answers if answers.dtype == np.float64 else answers.astype(np.float32, copy=False)
