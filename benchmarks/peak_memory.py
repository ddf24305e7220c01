"""How much memory an engine takes, each in a process of its own."""

import json
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import torch

import onepixel
from signature_subjects import SUBJECTS, Subject

SCRIPT = Path(__file__).with_name("signature.py")
"""What a fresh process runs, with `--alone`."""


def peak_memory(subject: Subject, engine: str, device: str) -> float:
    """Peak resident memory in MiB of a fresh process that does nothing but this one run on some rows of pixels."""
    command = [
        sys.executable,
        str(SCRIPT),
        "--device",
        device,
        "--alone",
        json.dumps([subject.name, engine, subject.weights, subject.start]),
    ]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return float(answer.stdout) if answer.returncode == 0 else float("nan")


def run_alone(name: str, engine: str, weights: str | None, start: str, device: torch.device) -> None:
    """What `peak_memory` starts; prints one number."""
    subject = replace(next(subject for subject in SUBJECTS if subject.name == name), weights=weights, start=start)
    classifier = subject.classifier(subject.network(), device)
    rows, images = subject.first_rows(2), subject.default_images
    onepixel.signature(classifier, values=subject.values, default_image=images, pixels=rows, engine=engine)
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else peak_resident_bytes()
    print(peak / 2**20)


def peak_resident_bytes() -> int:
    """Peak resident memory of this process.

    Linux counts what the parent held into `ru_maxrss`, so its own record is read there.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
