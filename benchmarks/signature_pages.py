"""What was measured, for people, for machines, and as a picture."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot

from machine import provenance
from onepixel.files import atomic_path
from signature_ways import Row


def markdown(rows: list[Row], stacked: list[str]) -> str:
    """The tables, and everything that says how they were made."""
    lines = [
        "# Signatures: every engine against one image at a time and the best batches",
        "",
        "Seconds are for all pixels, and for all default images where there are several; the default image is black",
        "unless the network's name says another. The roofline is the least that the windows need, at the rate of a",
        "matrix product; differences are in probability, from the exhaustive engine, on the first rows.",
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
    weights = sorted({f"{row.network.partition(',')[0]}: {row.weights}" for row in rows})
    return "\n".join([*lines, "", *stacked, "- weights: " + "; ".join(weights), *provenance(), ""])


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
