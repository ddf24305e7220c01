"""The sandboxed process: locks itself down, opens the one file, and answers until the pipe closes.

It is started as a script with an empty environment. What it gets and gives goes through two pipes; its standard
output and error lead nowhere, because the stranger's program may write to them.
"""

import contextlib
import importlib
import json
import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

ALWAYS_IMPORTED = ("onepixel.opening", "onepixel.signatures")
LITERT = ("ai_edge_litert.schema_py_generated", "onepixel.opening.tflite_file")
IMPORTED_FOR = {
    "ONNX": ("onnx", "onnxruntime", "onepixel.opening.onnx_file"),
    "skops": ("skops.io", "onepixel.opening.skops_file"),
    "safetensors weights": ("onepixel.opening.state_dict",),
    "PyTorch state dict": ("onepixel.opening.state_dict",),
    "safetensors weights in several files": ("onepixel.opening.state_dict",),
    "archive with a model inside": (
        *("onepixel.opening.archives", "onepixel.opening.state_dict", "torchvision", "onepixel.opening.program"),
        *("onnx", "onnxruntime", "onepixel.opening.onnx_file"),
        *("skops.io", "onepixel.opening.skops_file", "h5py", "onepixel.opening.keras_file"),
        *("ai_edge_litert.interpreter", *LITERT),
    ),
    "Keras model": ("h5py", "onepixel.opening.keras_file"),
    "TensorFlow Lite model": ("ai_edge_litert.interpreter", *LITERT),
    "HDF5 file": ("h5py", "onepixel.opening.keras_file"),
    "PyTorch checkpoint": ("onepixel.opening.state_dict", "torchvision"),
    "PyTorch file of before version 1.6": ("onepixel.opening.state_dict", "torchvision"),
    "TorchScript program": ("onepixel.opening.program",),
    "torch.export program": ("onepixel.opening.program",),
}
"""What each format's loader and engine need, by the value of `Format`; all of it trusted code."""


def main() -> None:
    """Serve one file."""
    requests, answers = int(sys.argv[1]), int(sys.argv[2])
    setup = json.loads(sys.argv[3])
    reason = None
    try:
        lock_down(setup)
    except Exception as error:
        reason = str(error) or type(error).__name__
        traceback.print_exc()
    from onepixel.sandbox.protocol import send

    send(answers, {"not_enforced": reason} if reason else {"enforced": True})
    if reason is None:
        serve(setup, requests, answers)
    os._exit(0)  # taking the interpreter apart takes long, and the other side waits for the end


def lock_down(setup: dict[str, Any]) -> None:
    """Import what is trusted, restrict this process, and try whether it holds; the file is opened afterwards.

    Imports come first because some packages write when they are imported (torch makes a folder for its caches).
    Landlock binds the thread that asks for it, so NumPy's libraries are kept from starting threads until then.
    """
    from onepixel.sandbox import confine
    from onepixel.starting import shorten_import_of_torch

    confine.die_with_parent(setup["parent"])
    sys.path.extend(path for path in setup["packages"] if path not in sys.path)
    os.chdir("/")
    shorten_import_of_torch()
    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    for name in (*ALWAYS_IMPORTED, *IMPORTED_FOR.get(setup["format"], ())):
        # An extra that is not installed is missed when the file turns out to need it.
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    architecture = setup["request"]["architecture"] or ""
    if architecture.startswith("timm:"):
        with contextlib.suppress(ImportError):
            importlib.import_module("timm")
    elif ":" in architecture:
        # Code that the user named and trusts; if it fails, the same attempt later says so.
        sys.path.append(setup["folder"])
        with contextlib.suppress(Exception):
            importlib.import_module(architecture.partition(":")[0])
    os.environ.clear()
    # Chosen while it can be tried; packages that are imported later ask for its name, and nothing is written there.
    tempfile.gettempdir()
    restrict_calls = confine.prepare_calls() if setup["seccomp"] else None
    if setup["landlock"]:
        confine.restrict_files(setup["folders"], setup["files"])
    confine.limit_resources(setup["memory_bytes"], setup["processor_seconds"])
    if restrict_calls is not None:
        restrict_calls()
    confine.try_to_escape(setup["canary"], calls_restricted=setup["seccomp"])


def serve(setup: dict[str, Any], requests: int, answers: int) -> None:
    """Open the file and answer questions about it; what goes wrong becomes the name of an error and a sentence."""
    import torch

    from onepixel.classifiers.gradients import has_gradients, weighted_gradients
    from onepixel.errors import OnepixelError
    from onepixel.opening import Limits, open_file
    from onepixel.opening.request import Request
    from onepixel.sandbox.protocol import ProtocolError, receive, send

    torch.set_num_threads(setup["threads"])
    limits, request = Limits(**setup["limits"]), Request.from_json(setup["request"])

    def complain(error: Exception) -> None:
        known = isinstance(error, OnepixelError)
        sentence = str(error) if known else f"{request.name} failed: {type(error).__name__}: {error}"
        send(answers, {"error": type(error).__name__ if known else "AnswerError", "sentence": sentence[:2000]})

    try:
        classifier = open_file(request, limits, sandboxed=True)
    except Exception as error:
        complain(error)
        return
    keys = ("input_shape", "outputs", "classes", "assumptions", "range_unsure")
    about = {key: getattr(classifier, key) for key in keys}
    about["gradients"] = has_gradients(classifier)
    send(answers, about)
    while True:
        try:
            frame = receive(requests, 2**40)
        except ProtocolError:
            return
        try:
            if "signatures" in frame.about:
                send(answers, *computed_signatures(classifier, frame, answers))
            elif "weights" in frame.arrays:
                images, weights = (torch.from_numpy(frame.arrays[name]) for name in ("images", "weights"))
                send(answers, {}, {"gradients": weighted_gradients(classifier, images, weights).numpy()})
            else:
                told = classifier(torch.from_numpy(frame.arrays["images"]).to(classifier.dtype))
                send(answers, {}, {"answers": told.numpy()})
        except ProtocolError:
            return
        except Exception as error:
            complain(error)


def computed_signatures(classifier: Any, frame: Any, answers: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run an engine in here, from one or several default images; progress goes out as small frames on the way."""
    import numpy as np

    from onepixel.progress import counted_by
    from onepixel.sandbox.protocol import send
    from onepixel.signatures.compute import signatures_here
    from onepixel.signatures.plan import Shared

    asked = {**frame.about["signatures"], "progress": False}
    shared = Shared(**asked.pop("shared"))

    with counted_by(lambda count: send(answers, {"progress": count})):
        found = signatures_here(
            classifier,
            default_images=list(frame.arrays["default_images"]),
            pixels=frame.arrays["pixels"],
            shared=shared,
            **asked,
        )
    abouts = [{key: getattr(one, key) for key in ("engine", "queries", "note", "details")} for one in found]
    arrays = {name: np.stack([getattr(one, name) for one in found]) for name in ("low", "high", "base")}
    return {"signatures": abouts}, arrays


if __name__ == "__main__":
    main()
