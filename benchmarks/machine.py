"""What a result must say about where it comes from: command, date, machine, versions."""

import datetime
import os
import platform
import shlex
import sys
from pathlib import Path

import numpy as np
import torch

import onepixel


def processor() -> str:
    """The processor's name, or its architecture where the system does not tell."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def provenance() -> list[str]:
    """Lines of Markdown."""
    script, *arguments = sys.argv
    command = shlex.join(["python", f"benchmarks/{Path(script).name}", *arguments])
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    versions = f"onepixel {onepixel.__version__}, torch {torch.__version__}, numpy {np.__version__}"
    return [
        f"- command: `{command}`",
        f"- date: {datetime.date.today().isoformat()}",
        f"- machine: {processor()}, {os.cpu_count()} cores ({torch.get_num_threads()} threads used){gpu}",
        f"- versions: {versions}, Python {platform.python_version()}",
    ]
