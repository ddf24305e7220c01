"""Core-seconds of a training step in float32 and in bfloat16, per architecture; writes results/precision.*.

    python benchmarks/precision.py

One thread, processor time, batches of 128 random images, the two precisions in turns. What a population of each
reaches is in its table; this says what a step costs.
"""

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from onepixel.architectures import architecture
from onepixel.populations import TrainingRecipe
from onepixel.populations.training import as_input, optimize, phases, precision_of
from onepixel.report.tables import markdown_table, provenance, write_result

ARCHITECTURES = ("lenet5", "alexnet", "vgg10", "resnet8")


def core_seconds(module: nn.Module, recipe: TrainingRecipe, images: int) -> float:
    """Processor time per step of one pass over so many images."""
    x = torch.randint(0, 256, (images, 1, 28, 28), dtype=torch.uint8)
    y = torch.randint(0, 10, (images,))
    (phase,) = phases(recipe, images, 0, torch.Generator().manual_seed(0))

    def loss_of(numbers: torch.Tensor) -> torch.Tensor:
        with precision_of(recipe, "cpu"):
            answers = module(as_input(x[numbers]))
        return functional.cross_entropy(answers.float(), y[numbers])

    started = time.process_time()
    optimize(module.parameters(), phase, recipe, map(loss_of, phase.batches))
    return (time.process_time() - started) / phase.steps


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10, help="training steps per measurement")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path("results"))
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    torch.set_num_threads(1)
    recipes = [TrainingRecipe(epochs=1, precision=precision) for precision in ("float32", "bfloat16")]
    cells = []
    for name in ARCHITECTURES:
        module = architecture(name).build(10).to(memory_format=torch.channels_last).train()
        images = options.steps * recipes[0].batch_size
        runs = [[core_seconds(module, recipe, images) for recipe in recipes] for _ in range(options.repeats + 1)]
        times = np.array(runs[1:])
        ratios = times[:, 0] / times[:, 1]
        milliseconds = [f"{1000 * value:.1f}" for value in np.median(times, axis=0)]
        cells.append([name, *milliseconds, f"{np.median(ratios):.2f}", f"{ratios.min():.2f} to {ratios.max():.2f}"])
    head = ["architecture", "float32 (ms per step)", "bfloat16 (ms per step)", "ratio, median", "ratio, range"]
    given = sys.argv[1:] if arguments is None else arguments
    made = provenance(shlex.join(["python", "benchmarks/precision.py", *given]), time.perf_counter() - started)
    text = f"""# What bfloat16 gains in training

Processor time of one training step on {recipes[0].batch_size} images of 28 x 28, one thread, the two precisions in
turns, {options.repeats} times {options.steps} steps; the first turn is not counted. The gain needs a processor with
bfloat16 instructions.

{markdown_table(head, cells)}
"""
    write_result(options.output, "precision", head, cells, text, made)
    print(text)


if __name__ == "__main__":
    main()
