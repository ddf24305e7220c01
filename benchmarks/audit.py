"""Wall time of `onepixel audit` on the example model in every format, start-up included; writes results/audit-times.*.

    python benchmarks/audit.py

Each audit is a process of its own, as a user starts it; the formats take turns, so that a slow moment of the machine
meets all of them alike. The bounds are for two quiet cores; on a busy machine look at the processor time, and at the
load that is printed. Beside the times stands by how much each format's signature differs from that of the state dict,
in probability, and the verdict.
"""

import argparse
import compileall
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import onepixel
from onepixel.errors import UsageError
from onepixel.report.tables import markdown_table, provenance, write_result
from onepixel.signatures import Signature
from timing import processor_time

EXAMPLES = Path(__file__).parent.parent / "examples"
WEIGHTS = ["--architecture", "lenet5"]
SHAPE = ["--input-shape", "1,28,28"]
FORMATS = {
    "state dict": ("pth", WEIGHTS, 3.0),
    "safetensors": ("safetensors", WEIGHTS, 3.0),
    "ONNX": ("onnx", [], 4.0),
    "TorchScript, in the sandbox": ("pt", SHAPE, 6.0),
    "torch.export, in the sandbox": ("pt2", SHAPE, 6.0),
}
"""Each format: how its file's name ends, the options it needs, and the seconds that an audit may take."""

QUIET = 3.0
"""Load up to which two cores are quiet beside the audit itself."""

DECIDED = (0, 1)
"""The exit statuses of an audit that came to a verdict."""


@dataclass
class Line:
    """What was measured of one format: wall and processor times in seconds, largest difference, the verdict."""

    name: str
    bound: float
    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    difference: float = 0.0
    verdict: str = ""


def command(action: str, name: str) -> list[str]:
    """A command of onepixel on the trojaned example in one format."""
    ending, options, _ = FORMATS[name]
    common = ["--outputs", "logits", "--normalize", "none", "--quiet"]
    return [
        str(Path(sys.executable).with_name("onepixel")),
        action,
        str(EXAMPLES / f"trojaned.{ending}"),
        *options,
        *common,
    ]


def audit(line: Line) -> None:
    """Time one audit and keep its verdict."""
    started, spent = time.perf_counter(), processor_time()
    done = subprocess.run([*command("audit", line.name), "--json"], capture_output=True, text=True, check=False)
    line.seconds.append(time.perf_counter() - started)
    line.processor.append(processor_time() - spent)
    if done.returncode not in DECIDED:
        raise UsageError(f"The audit of {line.name} ended with status {done.returncode}: {done.stderr.strip()}")
    found = json.loads(done.stdout)
    line.verdict = f"{found['decision']}, {found['score']:.3f}"


def largest_change(name: str, folder: Path) -> NDArray[np.floating[Any]]:
    """The signature of one format as probabilities (K, H, W)."""
    path = folder / "signature.safetensors"
    subprocess.run([*command("signature", name), "--out", str(path)], capture_output=True, check=True)
    return Signature.load(path).values("largest_change")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="audits per format")
    parser.add_argument("--output", type=Path, default=Path("results"))
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    # As pip does when it installs: otherwise every process would compile onepixel again, where it may not write.
    compileall.compile_dir(Path(onepixel.__file__).parent, quiet=1)
    lines = [Line(name, bound) for name, (_, _, bound) in FORMATS.items()]
    loads = [os.getloadavg()[0]]
    for _ in range(options.runs):
        for line in lines:
            audit(line)
        loads.append(os.getloadavg()[0])
    with tempfile.TemporaryDirectory() as folder:
        signatures = [largest_change(line.name, Path(folder)) for line in lines]
    for line, found in zip(lines, signatures, strict=True):
        line.difference = float(np.abs(found - signatures[0]).max())
    cells = [
        [
            line.name,
            *(f"{measure(line.seconds):.1f}" for measure in (min, np.median, max)),
            f"{line.bound:g}",
            f"{np.median(line.processor):.1f}",
            f"{line.difference:.1e}",
            line.verdict,
        ]
        for line in lines
    ]
    head = [
        "format",
        "least (s)",
        "median (s)",
        "most (s)",
        "bound (s)",
        "processor (s)",
        "largest difference",
        "verdict and score",
    ]
    given = sys.argv[1:] if arguments is None else arguments
    made = provenance(shlex.join(["python", "benchmarks/audit.py", *given]), time.perf_counter() - started)
    text = f"""# Wall time of an audit, start-up included

`onepixel audit` on `examples/trojaned.*`, a LeNet-5 for MNIST, {options.runs} times per format in turns, each a process
of its own. The largest difference is that of the signature (`largest_change`, 256 values, every pixel) from the state
dict's, in probability. Bounds are for two quiet cores. "Processor" is the median processor time, of the sandbox too.
Load while this was measured (processes that wanted a core, mean of a minute): {min(loads):.1f} to {max(loads):.1f}, on
{os.cpu_count()} cores{"" if max(loads) < QUIET else ", which is not quiet: wall times say little"}.

{markdown_table(head, cells)}
"""
    write_result(options.output, "audit-times", head, cells, text, made)
    print(text)


if __name__ == "__main__":
    main()
