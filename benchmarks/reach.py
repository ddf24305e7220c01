"""Wall time and cost of an audit with images by queries only, start-up included; writes results/reach-times.*.

    python benchmarks/reach.py                     # every row
    python benchmarks/reach.py --rows lenet5       # some rows; the others are kept as they were measured before

Each row is one `onepixel audit --images ... --search composed` in a process of its own. Beside its wall time stand the
processor seconds that it took, which other work on the machine hardly changes, and the load before it began. Weights
are random but for LeNet-5, which is `examples/trojaned.safetensors`: the last layer of the others is fitted by least
squares to synthetic images, so that the network is sure of them. A second table compares the incremental engine with
the best of some batch sizes and layouts on the same blocks of pixels of the same sample images, in turns, in one
process.
"""

import argparse
import csv
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from onepixel.architectures import architecture
from onepixel.classifiers import ModuleClassifier, to_log_odds
from onepixel.reaches.composed import blocks, pixel_values
from onepixel.report.tables import markdown_table, provenance, write_result
from onepixel.signatures.incremental import NotIncrementalError, block_log_odds
from timing import processor_time

EXAMPLES = Path(__file__).parent.parent / "examples"
CLASSES = 10
DECIDED = (0, 1)
BATCH_SIZES = (32, 128, 512)

HEAD = ["network", "images", "budget", "queries", "wall (s)", "processor (s)", "bound (s)", "load", "verdict"]
COMPARED = ["network", "blocks", "cells", "incremental (s)", "best batches (s)", "ratio", "which", "difference"]


@dataclass(frozen=True)
class Subject:
    """A network, its images and budget, the seconds that an audit may take, and what the engines are compared on.

    `side` is that of the blocks, `compared` the number of images whose blocks both engines set.
    """

    name: str
    shape: tuple[int, int, int]
    images: int
    budget: int | None
    bound: float
    side: int
    compared: int


SUBJECTS = (
    Subject("lenet5", (1, 28, 28), 80, None, 8, 2, 30),
    Subject("resnet20", (3, 32, 32), 80, None, 60, 3, 2),
    Subject("preact_resnet18", (3, 32, 32), 80, 2500, 60, 8, 1),
    Subject("resnet50", (3, 224, 224), 10, 1000, 600, 64, 1),
)


def synthetic(shape: tuple[int, int, int], count: int) -> tuple[Tensor, Tensor]:
    """Smooth images (N, C, H, W) of ten classes, or of half as many as there are images, and their labels."""
    generator = torch.Generator().manual_seed(0)
    classes = min(CLASSES, count // 2)
    labels = torch.arange(count) % classes
    coarse = torch.rand(classes, shape[0], 4, 4, generator=generator)
    smooth = nn.functional.interpolate(coarse, shape[1:], mode="bilinear")[labels]
    noise = torch.rand((count, *shape), generator=generator)
    return (0.85 * smooth + 0.15 * noise).clamp(0, 1), labels


def sure_network(name: str, images: Tensor, labels: Tensor) -> nn.Module:
    """Random weights; the last layer fitted so that the network is sure of the images."""
    torch.manual_seed(0)
    module = architecture(name).build(CLASSES).eval()
    last = [part for part in module.modules() if isinstance(part, nn.Linear)][-1]
    seen: list[Tensor] = []
    hook = last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    with torch.inference_mode():
        for part in images.split(16):
            module(part)
    hook.remove()
    features = torch.cat(seen).double()
    centre, scale = features.mean(0), features.std(0) + 1e-6
    inputs = torch.cat([(features - centre) / scale, torch.ones(len(features), 1)], dim=1)
    wanted = 16.0 * nn.functional.one_hot(labels, CLASSES).double()
    ridge = 0.1 * torch.eye(inputs.shape[1], dtype=torch.float64)
    weights = torch.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ wanted)
    with torch.no_grad():
        last.weight.copy_((weights[:-1] / scale[:, None]).T)
        last.bias.copy_(weights[-1] - (weights[:-1] * (centre / scale)[:, None]).sum(0))
    return module


def material(subject: Subject, folder: Path) -> tuple[Path, Path]:
    """The files of a subject's weights and images."""
    if subject.name == "lenet5":
        return EXAMPLES / "trojaned.safetensors", EXAMPLES / "images.npz"
    images, labels = synthetic(subject.shape, subject.images)
    weights, pictures = folder / f"{subject.name}.safetensors", folder / f"{subject.name}.npz"
    module = sure_network(subject.name, images, labels)
    save_file({name: value.contiguous() for name, value in module.state_dict().items()}, weights)
    np.savez(pictures, images=images.numpy(), labels=labels.numpy())
    return weights, pictures


def audit(subject: Subject, weights: Path, pictures: Path) -> list[object]:
    """One audit in a process of its own: the row of the table."""
    command = [sys.executable, "-c", "import sys; from onepixel.cli import main; sys.exit(main())", "audit"]
    command += [str(weights), "--architecture", subject.name, "--input-shape", ",".join(map(str, subject.shape))]
    command += ["--outputs", "logits", "--normalize", "none", "--images", str(pictures), "--search", "composed"]
    command += ["--json", "--quiet", *(["--budget", str(subject.budget)] if subject.budget else [])]
    load, before, started = os.getloadavg()[0], processor_time(), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wall = time.perf_counter() - started
    if done.returncode not in DECIDED:
        raise SystemExit(f"The audit of {subject.name} ended with status {done.returncode}: {done.stderr.strip()}")
    found = json.loads(done.stdout)
    budget = f"{subject.budget:,}" if subject.budget else "none"
    times = [f"{wall:.1f}", f"{processor_time() - before:.1f}", f"{subject.bound:g}", f"{load:.1f}"]
    return [subject.name, found["images"]["sure"], budget, found["queries"], *times, found["decision"]]


def compared(subject: Subject, weights: Path, pictures: Path) -> list[object]:
    """Both engines on the blocks of some sample images, in processor seconds, the least of two turns each."""
    module = architecture(subject.name).build(CLASSES).eval()
    module.load_state_dict(load_file(weights))
    classifier = ModuleClassifier(module, subject.shape, name=subject.name)
    with np.load(pictures) as file:
        array = torch.as_tensor(file["images"])[: subject.compared]
    images = (array.float() / 255 if array.dtype == torch.uint8 else array).reshape(-1, *subject.shape)
    places, values = blocks(*subject.shape[1:], subject.side), pixel_values(subject.shape[0])
    ways: dict[str, Callable[[], Tensor]] = {
        f"batches of {size}, {'channels last' if last else 'contiguous'}": partial(
            by_asking, classifier, images, places, values, size, last
        )
        for size in BATCH_SIZES
        for last in (False, True)
    }
    cells = len(images) * len(places) * len(values)
    start = [subject.name, f"{subject.side} x {subject.side} on {len(images)} images", cells]
    try:
        times, answers = in_turns({"incremental": lambda: block_log_odds(classifier, images, places, values), **ways})
    except NotIncrementalError as error:
        return [*start, "-", "-", "1.0", f"asked: {error}", "-"]
    best = min(ways, key=lambda way: times[way])
    difference = float((answers["incremental"] - answers[best].view_as(answers["incremental"])).abs().max())
    ratio = times[best] / times["incremental"]
    shown = [f"{times['incremental']:.2f}", f"{times[best]:.2f}", f"{ratio:.1f}"]
    return [*start, *shown, best, f"{difference:.1e}"]


def in_turns(ways: dict[str, Callable[[], Tensor]], turns: int = 2) -> tuple[dict[str, float], dict[str, Tensor]]:
    """The least processor seconds of each way, and what it gave."""
    times, answers = dict.fromkeys(ways, float("inf")), {}
    for _ in range(turns):
        for name, way in ways.items():
            started = time.process_time()
            answers[name] = way()
            times[name] = min(times[name], time.process_time() - started)
    return times, answers


def by_asking(
    classifier: ModuleClassifier, images: Tensor, places: np.ndarray, values: Tensor, size: int, last: bool
) -> Tensor:
    """Log-odds of every block at every value, asked in batches."""
    layout = torch.channels_last if last else torch.contiguous_format
    classifier.module.to(memory_format=layout)
    cells = [(i, b, v) for i in range(len(images)) for b in range(len(places)) for v in range(len(values))]
    found = []
    with torch.inference_mode():
        for start in range(0, len(cells), size):
            part = cells[start : start + size]
            changed = images[[image for image, _, _ in part]].clone()
            for row, (_, block, value) in enumerate(part):
                top, left, tall, wide = places[block]
                changed[row, :, top : top + tall, left : left + wide] = values[value][:, None, None]
            answers = classifier(changed.contiguous(memory_format=layout))
            found.append(to_log_odds(answers, classifier.outputs).float())
    classifier.module.to(memory_format=torch.contiguous_format)
    return torch.cat(found)


def kept(path: Path, names: Sequence[str]) -> list[list[object]]:
    """Rows that were measured before, of networks that are not measured now."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [list(row) for row in list(csv.reader(file))[1:] if row and row[0] not in names]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [subject.name for subject in SUBJECTS]
    parser.add_argument("--rows", nargs="*", choices=names, default=names, help="networks to measure; all unless said")
    parser.add_argument("--output", type=Path, default=Path("results"))
    asked = parser.parse_args(arguments)
    started = time.perf_counter()
    lines = kept(asked.output / "reach-times.csv", asked.rows)
    engines = kept(asked.output / "reach-engines.csv", asked.rows)
    for subject in (one for one in SUBJECTS if one.name in asked.rows):
        with tempfile.TemporaryDirectory() as folder:
            weights, pictures = material(subject, Path(folder))
            lines.append(audit(subject, weights, pictures))
            print(*lines[-1], flush=True)
            engines.append(compared(subject, weights, pictures))
            print(*engines[-1], flush=True)
    lines.sort(key=lambda line: names.index(str(line[0])))
    engines.sort(key=lambda line: names.index(str(line[0])))
    given = sys.argv[1:] if arguments is None else arguments
    made = provenance(shlex.join(["python", "benchmarks/reach.py", *given]), time.perf_counter() - started)
    text = f"""# An audit with images, by queries only: wall time and cost

`onepixel audit --images ... --search composed`, start-up included, each a process of its own. Processor seconds are
those of all its threads; with idle cores an audit takes no more wall time than them, and with two about half where the
network itself takes most. The load is that of the minute before.

{markdown_table(HEAD, lines)}

The incremental engine against the best batched exhaustive run on the same blocks of pixels, in processor seconds, in
turns in one process; both are exact (the largest difference is in log-odds).

{markdown_table(COMPARED, engines)}
"""
    write_result(asked.output, "reach-engines", COMPARED, engines, text, made, page="reach-times.md")
    write_result(asked.output, "reach-times", HEAD, lines, text, made)
    print(text)


if __name__ == "__main__":
    main()
