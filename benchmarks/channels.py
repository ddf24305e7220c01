"""ICLR 2020, section 5.1: is setting the three channels of a pixel together like searching all three?

On some pixels of the networks of stores, every colour of a grid of V values per channel is tried, V x V x V of them,
and compared with its V greys, from black: how far the log-odds of each class rise and fall at most, either way.

    python benchmarks/channels.py populations/gtsrb-six_plus_two-tuned-virus-final --networks 3  # or several stores
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onepixel.classifiers import logits_to_log_odds
from onepixel.files import write_text
from onepixel.populations import Store, networks_of
from onepixel.populations.training import fast_floats
from onepixel.report.tables import markdown_table

BATCH = 128


@dataclass(frozen=True)
class Found:
    """Rises and falls (P, K) of one network in log-odds, on P pixels."""

    name: str
    grey: NDArray[np.float32]
    colour: NDArray[np.float32]

    @property
    def line(self) -> list[str]:
        """A row of the table."""
        share = self.grey.sum() / self.colour.sum()
        correlation = np.corrcoef(self.grey.ravel(), self.colour.ravel())[0, 1]
        # Which class a pixel moves most is what a person sees in a signature.
        same = (self.grey.argmax(axis=1) == self.colour.argmax(axis=1)).mean()
        return [self.name, f"{self.colour.mean():.3f}", f"{share:.1%}", f"{correlation:.3f}", f"{same:.1%}"]


def colours(values: int) -> Tensor:
    """Every colour (V^3, 3) of the grid v / V."""
    grid = torch.arange(values) / values
    return torch.cartesian_prod(grid, grid, grid)


def search(module: torch.nn.Module, shape: tuple[int, int, int], pixels: NDArray[np.int64], values: int) -> Tensor:
    """Log-odds (P, V^3, K) of a black image with each colour at each of these pixels (P, 2)."""
    answers = []
    for row, column in pixels:
        parts = []
        for part in colours(values).split(BATCH):
            images = torch.zeros(len(part), *shape)
            images[:, :, row, column] = part
            parts.append(logits_to_log_odds(module(images)))
        answers.append(torch.cat(parts))
    return torch.stack(answers)


def compare(name: str, log_odds: Tensor, values: int) -> Found:
    """What greys find of what colours find; rises and falls side by side."""
    base = log_odds[:, :1]  # black is the first colour
    all_colours = colours(values)
    grey = (all_colours == all_colours[:, :1]).all(dim=1)

    def extremes(some: Tensor) -> NDArray[np.float32]:
        moved = some - base
        return torch.cat([moved.amax(dim=1), -moved.amin(dim=1)], dim=1).numpy()

    return Found(name, extremes(log_odds[:, grey]), extremes(log_odds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stores", type=Path, nargs="+")
    parser.add_argument("--networks", type=int, default=3, help="of each store")
    parser.add_argument("--pixels", type=int, default=16, help="drawn at random for each network")
    parser.add_argument("--values", type=int, default=16, help="per channel")
    parser.add_argument("--output", type=Path, help="a Markdown file; printed unless said")
    options = parser.parse_args()
    lines = []
    for store in map(Store.open, options.stores):
        for number, (record, module, classifier) in zip(range(options.networks), networks_of(store), strict=False):
            shape = classifier.input_shape
            pixels = np.random.default_rng(number).integers(0, shape[1:], (options.pixels, 2))
            with torch.inference_mode(), fast_floats():
                log_odds = search(module, shape, pixels, options.values)
            lines.append(compare(f"{store.recipe.name} {record.slot}", log_odds, options.values).line)
    head = ["network", "mean rise and fall by colours", "of it by greys", "correlation", "same class moves most"]
    text = f"""# ICLR 5.1: three channels together against all colours

From black, {options.values} values per channel, {options.pixels} pixels drawn at random; log-odds.

{markdown_table(head, lines)}
"""
    if options.output:
        write_text(options.output, text)
    else:
        print(text)


if __name__ == "__main__":
    main()
