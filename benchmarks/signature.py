"""Every engine against one image at a time and against the best batched run; writes results/signature-benchmark.*.

    python benchmarks/signature.py                      # every row
    python benchmarks/signature.py --quick              # few pixels, for a first look
    python benchmarks/signature.py --rows lenet5 vgg16  # some rows

What takes long is measured on a sample and scaled to all pixels; the table says on how many. An engine's cost is
taken to be a part that every run has (tracing, say) and a part per row of pixels: both follow from a run on one row of
the sample and one on all its rows. Engines are timed in turns, several times, and the fastest time of each counts.
Rates are multiply-adds; the roofline is the least that the windows of all pixels need, at the rate that this machine
reaches in a matrix product.
"""

import argparse
import csv
import io
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from matplotlib import pyplot
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor, nn

import onepixel
from machine import provenance
from onepixel import Signature
from onepixel.classifiers import ModuleClassifier, to_log_odds
from onepixel.errors import OnepixelError
from onepixel.files import atomic_path, write_text
from onepixel.signatures import ENGINES, Plan, signatures_of, value_grid
from trained import Network, network_from, random_network, trained_network

BATCH_SIZES = (32, 128, 512, 2048)
LARGEST_BATCH_NUMBERS = 2**23
FASTEST_OF = 3


@dataclass(frozen=True)
class Subject:
    """A network to be measured: its images, the size of its grid, and the rows of pixels that a sample visits."""

    name: str
    shape: tuple[int, int, int]
    values: int
    classes: int
    sampled_rows: int | None = None
    weights: str | None = None

    def network(self) -> Network:
        """From the weights file that was named; else trained on MNIST where that fits and is found, else random."""
        if self.weights is not None:
            return network_from(self.name, self.classes, Path(self.weights))
        on_mnist = self.shape == (1, 28, 28)
        return trained_network(self.name) if on_mnist else random_network(self.name, self.classes)

    def mask(self) -> NDArray[np.bool_]:
        """The pixels that the engines visit: all, or some whole rows drawn from a fixed seed."""
        _, height, width = self.shape
        mask = np.ones((height, width), dtype=bool)
        if self.sampled_rows is not None:
            mask[:] = False
            mask[np.random.default_rng(0).choice(height, self.sampled_rows, replace=False)] = True
        return mask


SUBJECTS = (
    Subject("lenet5", (1, 28, 28), 256, 10),
    Subject("resnet8", (1, 28, 28), 256, 10),
    Subject("alexnet", (1, 28, 28), 256, 10),
    Subject("vgg10", (1, 28, 28), 256, 10),
    Subject("six_plus_two", (3, 32, 32), 256, 43),
    Subject("resnet50", (3, 64, 64), 16, 1000, sampled_rows=8),
    Subject("vgg16", (3, 64, 64), 16, 1000, sampled_rows=8),
)


@dataclass(frozen=True)
class Row:
    """One way to a signature, on one network; `seconds` is for all pixels, `measured` what it was scaled from."""

    network: str
    weights: str
    way: str
    values: int
    measured: str
    seconds: float
    faster_than_one_at_a_time: float
    faster_than_best_batches: float
    share_of_roofline: float
    queries: int
    largest_difference: float
    peak_mebibytes: float
    roofline_seconds: float
    note: str


def fastest(runs: dict[str, Callable[[], object]], device: torch.device, repeats: int) -> dict[str, float]:
    """The fastest of several runs of each, taken in turns, in seconds."""
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if device.type == "cuda":
                torch.cuda.synchronize()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def multiply_add_rate(device: torch.device, dtype: torch.dtype, size: int = 1024) -> float:
    """Multiply-adds per second in a square matrix product."""
    one, other = (torch.rand(size, size, device=device, dtype=dtype) for _ in range(2))
    run = {"product": lambda: [one @ other for _ in range(5)]}
    return 5 * size**3 / fastest(run, device, 5)["product"]


def window_multiply_adds(classifier: ModuleClassifier, mask: NDArray[np.bool_], sampled: int = 24) -> tuple[int, int]:
    """Multiply-adds per image that the windows of changed numbers need at least, and those of a full forward pass.

    A pixel is set to NaN: whatever it reaches becomes NaN. A convolution needs one multiply-add per changed input
    and weight that meets it, a dense layer one per changed input and output; all else is taken to cost nothing. The
    mean over some random pixels.
    """
    changed_total, full_total = 0, 0

    def count(part: nn.Module, inputs: tuple[Tensor, ...], answer: Tensor) -> None:
        nonlocal changed_total, full_total
        changed = inputs[0].isnan()
        if isinstance(part, nn.Linear):
            changed_total += int(changed.sum()) * part.out_features
            full_total += changed.numel() * part.out_features
        elif isinstance(part, nn.Conv2d):
            taps = torch.ones(part.out_channels, part.in_channels // part.groups, *part.kernel_size)
            how = (None, part.stride, part.padding, part.dilation, part.groups)
            changed_total += int(nn.functional.conv2d(changed.float().cpu(), taps, *how).sum())
            full_total += answer[0].numel() * taps[0].numel()

    parts = [part for part in classifier.module.modules() if isinstance(part, (nn.Linear, nn.Conv2d))]
    hooks = [part.register_forward_hook(count) for part in parts]
    pixels = np.argwhere(mask)
    drawn = pixels[np.random.default_rng(0).choice(len(pixels), min(sampled, len(pixels)), replace=False)]
    try:
        for row, column in drawn:
            image = torch.zeros(1, *classifier.input_shape, device=classifier.device, dtype=classifier.dtype)
            image[:, :, row, column] = float("nan")
            classifier(image)
    finally:
        for hook in hooks:
            hook.remove()
    return changed_total // len(drawn), full_total // len(drawn)


def ask_in_batches(
    classifier: ModuleClassifier, plan: Plan, size: int, images: int, layout: torch.memory_format
) -> None:
    """The exhaustive loop on some images, in batches of one size and layout."""
    for start in range(0, images, size):
        cells = torch.arange(start, min(start + size, images), device=plan.pixels.device) % plan.cells
        odds = to_log_odds(classifier(plan.images(cells).contiguous(memory_format=layout)), classifier.outputs)
        odds.amax(0)


def best_batches(
    classifier: ModuleClassifier, plan: Plan, images: int, repeats: int
) -> tuple[Callable[[], None], int, str]:
    """The fastest batched run, how many images it asks, and its name; every size is asked at least one batch."""
    found: list[tuple[float, Callable[[], None], int, str]] = []
    for layout, name in ((torch.contiguous_format, "contiguous"), (torch.channels_last, "channels last")):
        classifier.module.to(memory_format=layout)
        for size in (size for size in BATCH_SIZES if size * plan.default_image.numel() <= LARGEST_BATCH_NUMBERS):
            asked = max(images, size)
            run = partial(ask_in_batches, classifier, plan, size, asked, layout)
            seconds = fastest({"": run}, classifier.device, repeats)[""] / asked
            found.append((seconds, partial(in_layout, classifier, layout, run), asked, f"batches of {size}, {name}"))
    classifier.module.to(memory_format=torch.contiguous_format)
    return min(found, key=lambda each: each[0])[1:]


def in_layout(classifier: ModuleClassifier, layout: torch.memory_format, run: Callable[[], None]) -> None:
    """Run with the weights in that layout."""
    classifier.module.to(memory_format=layout)
    run()
    classifier.module.to(memory_format=torch.contiguous_format)


def largest_difference(found: Signature, exact: Signature) -> float:
    """In probability, over low and high, on the pixels that both visited."""
    seen = found.visited & exact.visited
    pairs = [(found.low, exact.low), (found.high, exact.high)]
    return max(float(np.abs(expit(ours[:, seen]) - expit(true[:, seen])).max()) for ours, true in pairs)


def peak_memory(subject: Subject, engine: str, device: str) -> float:
    """Peak resident memory in MiB of a fresh process that does nothing but this one run on some rows of pixels."""
    command = [
        sys.executable,
        __file__,
        "--device",
        device,
        "--alone",
        json.dumps([subject.name, engine, subject.weights]),
    ]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return float(answer.stdout) if answer.returncode == 0 else float("nan")


def run_alone(name: str, engine: str, weights: str | None, device: torch.device) -> None:
    """What `peak_memory` starts; prints one number."""
    subject = replace(next(subject for subject in SUBJECTS if subject.name == name), weights=weights)
    classifier = classifier_of(subject, subject.network(), device)
    onepixel.signature(classifier, values=subject.values, pixels=few_rows(subject, 2), engine=engine)
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


def few_rows(subject: Subject, rows: int) -> NDArray[np.bool_]:
    """The first rows of pixels of a subject's sample."""
    mask = subject.mask()
    mask[np.flatnonzero(mask.any(axis=1))[rows:]] = False
    return mask


def classifier_of(subject: Subject, network: Network, device: torch.device) -> ModuleClassifier:
    """The network as a classifier on a device."""
    return ModuleClassifier(network.module.to(device), subject.shape, name=subject.name)


def measure(subject: Subject, device: torch.device, repeats: int, memory: bool) -> list[Row]:
    """All ways to one network's signature, timed in turns."""
    network = subject.network()
    classifier = classifier_of(subject, network, device)
    mask, (_, height, width) = subject.mask(), subject.shape
    black = np.zeros(subject.shape, dtype=np.float32)
    plan = Plan.make(classifier, value_grid(subject.values), black, mask)
    cells = height * width * subject.values
    few = 32 if subject.sampled_rows else 256

    def signature(engine: str, pixels: NDArray[np.bool_]) -> Signature:
        return onepixel.signature(classifier, values=subject.values, pixels=pixels, engine=engine)

    compared = few_rows(subject, 1 if subject.sampled_rows else 2)
    exact = signature("exhaustive", compared)
    differences: dict[str, float] = {}
    for engine in ENGINES:
        try:
            differences[engine] = largest_difference(signature(engine, compared), exact)
        except OnepixelError as error:
            print(f"{subject.name}: {engine}: {error}", file=sys.stderr)
    del differences["exhaustive"]

    found: dict[str, Signature] = {}

    def keep(engine: str) -> None:
        found[engine] = signature(engine, mask)

    batched, asked, best_name = best_batches(classifier, plan, 4 * few, repeats)
    one, best = "one image at a time", "best batches"
    runs: dict[str, Callable[[], object]] = {
        one: lambda: ask_in_batches(classifier, plan, 1, few, torch.contiguous_format),
        best: batched,
        **{engine: partial(keep, engine) for engine in differences},
    }
    one_row = few_rows(subject, 1)
    if subject.sampled_rows:
        runs |= {f"{engine}, one row": partial(signature, engine, one_row) for engine in differences}
    times = fastest(runs, device, repeats)
    of_all = {one: few / cells, best: asked / cells, **dict.fromkeys(differences, plan.cells / cells)}
    seconds = {way: times[way] / of_all[way] for way in of_all}
    if subject.sampled_rows:
        for engine in differences:
            seconds[engine] = of_all_rows(times[f"{engine}, one row"], times[engine], subject.sampled_rows, height)
    windows, full = window_multiply_adds(classifier, mask)
    roofline = windows * cells / multiply_add_rate(device, classifier.dtype)
    measured = {one: f"{few:,} images", best: f"{asked:,} images"}
    notes = {best: f"{best_name}; the windows need {windows / full:.1%} of the multiply-adds"}
    peaks = {way: peak_memory(subject, way, device.type) for way in ("exhaustive", *differences)} if memory else {}
    return [
        Row(
            network=subject.name,
            weights=network.weights,
            way=way,
            values=subject.values,
            measured=measured.get(way, f"{len(plan.pixels):,} of {mask.size:,} pixels"),
            seconds=seconds[way],
            faster_than_one_at_a_time=seconds[one] / seconds[way],
            faster_than_best_batches=seconds[best] / seconds[way],
            roofline_seconds=roofline,
            share_of_roofline=roofline / seconds[way],
            queries=round(found[way].queries / of_all[way]) if way in found else cells + 1,
            largest_difference=differences.get(way, 0.0),
            peak_mebibytes=peaks.get("exhaustive" if way == best else way, float("nan")),
            note=found[way].note if way in found else notes.get(way, ""),
        )
        for way in of_all
    ]


def of_all_rows(one: float, several: float, sampled: int, rows: int) -> float:
    """Seconds for all rows, from the seconds of one and of several: a part that is always there, and one per row."""
    per_row = (several - one) / (sampled - 1)
    return one + (rows - 1) * per_row


def measure_stacked(models: int, device: torch.device, repeats: int, stride: int) -> list[str]:
    """Many LeNet-5s: a loop of exhaustive and of automatically chosen engines, and the stack; lines of Markdown."""
    modules = [random_network("lenet5", 10).module.to(device) for _ in range(models)]
    classifiers = [ModuleClassifier(module, (1, 28, 28)) for module in modules]

    def loop(engine: str) -> list[Signature]:
        return [onepixel.signature(classifier, pixels=stride, engine=engine) for classifier in classifiers]

    runs: dict[str, Callable[[], object]] = {
        "a loop, exhaustive": lambda: loop("exhaustive"),
        "a loop, auto": lambda: loop("auto"),
        "stacked": lambda: signatures_of(classifiers, pixels=stride),
    }
    times = fastest(runs, device, repeats)
    slowest = times["a loop, exhaustive"]
    return [
        f"## {models} LeNet-5s on {device.type}, every {stride}th row and column",
        "",
        "| way | seconds | times as fast as the exhaustive loop |",
        "|---|---|---|",
        *(f"| {way} | {seconds:.2f} | {slowest / seconds:.2f} |" for way, seconds in times.items()),
        "",
    ]


def markdown(rows: list[Row], stacked: list[str]) -> str:
    """The tables, and everything that says how they were made."""
    lines = [
        "# Signatures: every engine against one image at a time and the best batches",
        "",
        "Seconds are for all pixels, black default image; the roofline is the least that the windows need, at the",
        "rate of a matrix product; differences are in probability, from the exhaustive engine, on the first rows.",
        "",
        "| network | V | way | measured | seconds | x one at a time | x best batches | roofline (s) "
        "| share of roofline | queries | largest difference | peak memory (MiB) | note |",
        "|" + "---|" * 13,
    ]
    for row in rows:
        peak = "" if np.isnan(row.peak_mebibytes) else f"{row.peak_mebibytes:.0f}"
        lines.append(
            f"| {row.network} | {row.values} | {row.way} | {row.measured} | {row.seconds:.3g} "
            f"| {row.faster_than_one_at_a_time:.1f} | {row.faster_than_best_batches:.2f} | {row.roofline_seconds:.3g} "
            f"| {row.share_of_roofline:.1%} | {row.queries:,} | {row.largest_difference:.1e} | {peak} | {row.note} |"
        )
    weights = sorted({f"{row.network}: {row.weights}" for row in rows})
    return "\n".join([*lines, "", *stacked, "- weights: " + "; ".join(weights), *provenance(), ""])


def table(rows: list[Row]) -> str:
    """The rows as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(asdict(rows[0])), lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return text.getvalue()


def plot(rows: list[Row], path: Path) -> None:
    """One group of bars per network, on a logarithmic scale, with the roofline across it."""
    mpl.use("Agg")
    networks = list(dict.fromkeys(row.network for row in rows))
    ways = list(dict.fromkeys(row.way for row in rows))
    figure, axes = pyplot.subplots(figsize=(2 + 1.4 * len(networks), 4.5), layout="constrained")
    width = 0.8 / len(ways)
    for position, way in enumerate(ways):
        points = [(networks.index(row.network), row.seconds) for row in rows if row.way == way]
        axes.bar(
            [x + (position - (len(ways) - 1) / 2) * width for x, _ in points], [y for _, y in points], width, label=way
        )
    for position, network in enumerate(networks):
        least = next(row.roofline_seconds for row in rows if row.network == network)
        axes.hlines(least, position - 0.4, position + 0.4, "black", "dashed", label=None if position else "roofline")
    axes.set_yscale("log")
    axes.set_ylabel("seconds for one signature")
    axes.set_xticks(range(len(networks)), networks)
    axes.legend(fontsize="small")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [subject.name for subject in SUBJECTS]
    parser.add_argument("--rows", nargs="+", choices=names, default=names, metavar="NETWORK", help=", ".join(names))
    parser.add_argument(
        "--weights",
        nargs="+",
        default=[],
        metavar="NETWORK=FILE",
        help="safetensors files of trained weights, such as a store's models/00000.safetensors",
    )
    parser.add_argument("--quick", action="store_true", help="two rows of pixels, one repeat, no memory, 4 stacks")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--stacked", type=int, default=64, help="how many LeNet-5s to stack; 0 leaves them out")
    parser.add_argument(
        "--stride", type=int, default=7, help="from one row, and column, of pixels to the next for stacks"
    )
    parser.add_argument("--no-memory", action="store_true", help="leave out peak memory, which takes a process each")
    parser.add_argument("--output", type=Path, default=Path("results"))
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    options = parser.parse_args()
    device = torch.device(options.device)
    weights = dict(said.split("=", 1) if "=" in said else (said, "") for said in options.weights)
    if not all(name in names and Path(file).is_file() for name, file in weights.items()):
        parser.error(f"--weights takes NETWORK=FILE of files that are there, but got {' '.join(options.weights)}")
    if options.alone:
        name, engine, file = json.loads(options.alone)
        run_alone(name, engine, file, device)
        return
    repeats = 1 if options.quick else FASTEST_OF
    rows: list[Row] = []
    options.output.mkdir(parents=True, exist_ok=True)
    target = options.output / f"signature-benchmark{'' if device.type == 'cpu' else '-' + device.type}"

    stacked: list[str] = []
    if options.stacked:
        stacked = measure_stacked(4 if options.quick else options.stacked, device, repeats, options.stride)
    memory = not (options.quick or options.no_memory)

    def write() -> None:
        write_text(target.with_suffix(".csv"), table(rows))
        write_text(target.with_suffix(".md"), markdown(rows, stacked))
        plot(rows, target.with_suffix(".png"))

    for subject in SUBJECTS:
        if subject.name in options.rows:
            named = replace(subject, weights=weights.get(subject.name))
            chosen = replace(named, sampled_rows=2) if options.quick else named
            rows += measure(chosen, device, repeats, memory)
            for row in rows:
                if row.network == subject.name:
                    print(f"{row.network}: {row.way}: {row.seconds:.3g} s", file=sys.stderr, flush=True)
            write()


if __name__ == "__main__":
    torch.set_flush_denormal(True)
    main()
