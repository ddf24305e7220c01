"""What a signature on fewer pixels and fewer intensities loses, by which networks on large images are signed.

Networks of stores are signed from black at every pixel, on a fine and on a coarse grid of intensities; signatures at
every second and fourth row and column are read off those. What is compared is how far log-odds rise.

    python benchmarks/coarse.py populations/imagenette-efficientnet_lite0-tuned-clean --networks 1  # or several stores
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from onepixel import signature
from onepixel.detectors.metrics import fast_auroc
from onepixel.files import write_text
from onepixel.populations import Store, networks_of
from onepixel.populations.training import fast_floats
from onepixel.report.tables import markdown_table
from onepixel.signatures import Signature

STRIDES = (1, 2, 4)


def line(name: str, fine: Signature, coarse: Signature, stride: int) -> list[str]:
    """What a coarse signature has of a fine one."""
    signed = (fine, coarse.thinned(stride), fine.thinned(stride))
    every, some, shared = ((one.high - one.base[:, None, None]).astype(float) for one in signed)
    peaks, thinned = every.max(axis=(1, 2)), some.max(axis=(1, 2))
    highest = shared > np.quantile(shared, 0.99)
    return [
        name,
        f"{coarse.settings.values}",
        f"{stride}",
        f"{coarse.queries // stride**2:,}",
        f"{some.mean() / every.mean():.1%}",
        f"{(thinned / peaks).mean():.1%}",
        f"{np.corrcoef(shared.ravel(), some.ravel())[0, 1]:.3f}",
        f"{fast_auroc(some[~highest], some[highest]):.3f}",
    ]


def lines_of(store: Store, networks: int, values: tuple[int, ...]) -> Iterator[list[str]]:
    """A line for every network, grid of intensities and stride."""
    for _, (record, _, classifier) in zip(range(networks), networks_of(store), strict=False):
        with fast_floats():
            signed = [signature(classifier, values=each, inclusive=True, progress=True) for each in values]
        for coarse in signed:
            for stride in STRIDES:
                yield line(f"{store.recipe.name} {record.slot}", signed[0], coarse, stride)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stores", type=Path, nargs="+")
    parser.add_argument("--networks", type=int, default=1, help="of each store")
    parser.add_argument("--values", type=int, nargs=2, default=(16, 4), help="intensities, the finer grid first")
    parser.add_argument("--output", type=Path, help="a Markdown file; printed unless said")
    options = parser.parse_args()
    lines = [one for folder in options.stores for one in lines_of(Store.open(folder), options.networks, options.values)]
    head = ["network", "intensities", "stride", "queries", "mean of the finest", "its peaks", "correlation", "top 1 %"]
    text = f"""# Signatures on fewer pixels and intensities

How far log-odds rise from black, against every pixel and {options.values[0]} intensities. "Mean of the finest" and
"its peaks": the mean over classes and pixels, and the highest rise of each class, as a share. At the pixels that are
visited: the correlation with the finest, and how well the highest hundredth of the finest stands out (area under the
curve).

{markdown_table(head, lines)}
"""
    if options.output:
        write_text(options.output, text)
    else:
        print(text)


if __name__ == "__main__":
    main()
