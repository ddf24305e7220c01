"""Every engine against one image at a time and against the best batched run; writes results/signature-benchmark.*.

    python benchmarks/signature.py                      # every row
    python benchmarks/signature.py --quick              # few pixels, for a first look
    python benchmarks/signature.py --rows lenet5 vgg16  # some rows
    python benchmarks/signature.py --starts black "class means" --weights six_plus_two=FILE  # trained, from images

What takes long is measured on a sample and scaled to all pixels; the table says on how many. An engine's cost is
taken to be a part that every run has (tracing, say) and a part per row of pixels: both follow from a run on one row of
the sample and one on all its rows. Engines are timed in turns, several times, and the fastest time of each counts.
Rates are multiply-adds; the roofline is the least that the windows of all pixels need, at the rate that this machine
reaches in a matrix product.
"""

import argparse
import json
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import torch

from onepixel.files import write_text
from peak_memory import run_alone
from row_files import write_rows
from signature_pages import markdown, plot
from signature_stack import measure_stacked
from signature_subjects import STARTS, SUBJECTS
from signature_ways import Row, measure

FASTEST_OF = 3


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
    parser.add_argument(
        "--starts", nargs="+", choices=STARTS, default=["black"], metavar="IMAGE", help=", ".join(STARTS)
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
        run_alone(*json.loads(options.alone), device)
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
        write_rows(target.with_suffix(".csv"), rows)
        write_text(target.with_suffix(".md"), markdown(rows, stacked))
        plot(rows, target.with_suffix(".png"))

    asked = [subject for subject in SUBJECTS if subject.name in options.rows]
    for subject, start in product(asked, options.starts):
        named = replace(subject, weights=weights.get(subject.name), start=start)
        chosen = replace(named, sampled_rows=2) if options.quick else named
        found = measure(chosen, device, repeats, memory)
        for row in found:
            print(f"{row.network}: {row.way}: {row.seconds:.3g} s", file=sys.stderr, flush=True)
        rows += found
        write()


if __name__ == "__main__":
    torch.set_flush_denormal(True)
    main()
