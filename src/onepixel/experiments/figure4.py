"""ICLR Figure 4: signatures of clean networks of four architectures, and how alike networks of one architecture are."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from onepixel.detectors.features import maps
from onepixel.errors import UsageError
from onepixel.experiments.architecture import networks, populations, starts_of_two
from onepixel.experiments.declared import Experiment, Laboratory, Result
from onepixel.experiments.options import DefaultImage, Signed
from onepixel.populations.models import has, load_models, missing
from onepixel.report.signature import save_rows
from onepixel.report.tables import markdown_table
from onepixel.signatures import DEFINITIONS, Signature

DRAWN = "log_odds"
"""Where networks saturate, probabilities are flat and log-odds are not."""


@dataclass(frozen=True)
class Likeness:
    """Mean Pearson correlation of the signatures of two different networks, under one definition.

    Attributes
    ----------
    first, second : str
        Their architectures.
    definition : str
    correlation, low, high : float
        With a 95 % bootstrap interval over networks.
    """

    first: str
    second: str
    definition: str
    correlation: float
    low: float
    high: float


class Options(Signed):
    """Options of `onepixel experiment figure4`."""

    default_image: DefaultImage = "class means, 8 values"
    networks: Annotated[int, Field(ge=2, description="Networks of each architecture at the most.")] = 20

    @property
    def subject(self) -> str:
        """What signatures start from, in a file's name."""
        return f"figure4{networks(self.start).ending}"


def standardised(rows: NDArray[np.void], definition: str) -> NDArray[np.float64]:
    """Signatures as unit vectors (N, K H W), each class's mean taken off; those that are constant are 0."""
    values = maps(rows, definition)[:, 0].astype(float)
    flat = (values - values.mean(axis=(2, 3), keepdims=True)).reshape(len(values), -1)
    unit: NDArray[np.float64] = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)
    return unit


def likeness(one: NDArray[np.float64], other: NDArray[np.float64], same: bool) -> tuple[float, float, float]:
    """Mean correlation of every network of one kind with every other network, and its bootstrap interval."""
    products = one @ other.T
    if same:
        np.fill_diagonal(products, np.nan)
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(500):
        rows = rng.integers(len(one), size=len(one))
        columns = rows if same else rng.integers(len(other), size=len(other))
        drawn.append(np.nanmean(products[np.ix_(rows, columns)]))
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(np.nanmean(products)), float(low), float(high)


def find(options: Options, laboratory: Laboratory) -> Result[list[Likeness]]:
    """Draw the first network of each architecture, and compare networks within and across architectures."""
    names = populations("mnist", options.start)
    absent = [name for name in names.values() if not has(laboratory.zoo, name)]
    loaded = {words: load_models(laboratory.zoo, name) for words, name in names.items() if name not in absent}
    if len(loaded) < 2:
        raise UsageError(f"Figure 4 shows two architectures at least; {missing(laboratory.zoo, absent)}")
    shown = {
        words: Signature(**{part: models.rows[0][part] for part in ("low", "high", "base")}, settings=settings)
        for words, (models, settings) in loaded.items()
    }
    found = []
    for definition in DEFINITIONS:
        units = {
            words: standardised(models.rows[: options.networks], definition) for words, (models, _) in loaded.items()
        }
        for one, other in itertools.combinations_with_replacement(units, 2):
            value = likeness(units[one], units[other], one == other)
            found.append(Likeness(one, other, definition, *value))
    name = options.subject
    text = as_markdown(options, list(loaded), found, name)
    figures = {f"{name}.png": partial(save_rows, shown, definition=DRAWN)}
    return Result.of(found, name, map(asdict, found), text, figures=figures, missing=absent)


EXPERIMENT = Experiment(
    "figure4",
    "Do signatures of four architectures look different, and those of one architecture alike?",
    Options,
    find,
    paper="ICLR Figure 4",
    plan=lambda whole: (Options(default_image=str(start)) for start in starts_of_two(whole)),
    workers=False,
)


def matrix(names: Sequence[str], values: Mapping[tuple[str, str], Likeness]) -> str:
    """All pairs of architectures under one definition."""
    lines = []
    for one in names:
        cells = [values.get((one, other)) or values[other, one] for other in names]
        lines.append([one, *(f"{cell.correlation:.2f} ({cell.low:.2f} to {cell.high:.2f})" for cell in cells)])
    return markdown_table(["", *names], lines)


def verdict(names: Sequence[str], found: Sequence[Likeness]) -> str:
    """One paragraph: is a network more like one of its own architecture than like others?"""
    values = {(f.first, f.second): f for f in found if f.definition == DRAWN}
    said = []
    for name in names:
        own = values[name, name]
        others = [f for pair, f in values.items() if name in pair and pair != (name, name)]
        nearest = max(others, key=lambda f: f.correlation)
        partner = nearest.second if nearest.first == name else nearest.first
        word = "more" if own.low > nearest.high else "less" if own.high < nearest.low else "no more, within intervals,"
        said.append(
            f"{name} is {word} like itself ({own.correlation:.2f}) than like {partner} ({nearest.correlation:.2f})"
        )
    stands = all("more like" in sentence for sentence in said)
    claim = "The claim stands" if stands else "The claim stands only in part"
    return f"{claim}: under `{DRAWN}`, {'; '.join(said)}. How well a CNN names the architecture: `architecture`."


def as_markdown(options: Options, names: Sequence[str], found: Sequence[Likeness], picture: str) -> str:
    """The page for people."""
    tables = "\n\n".join(
        f"## `{definition}`\n\n{matrix(names, {(f.first, f.second): f for f in found if f.definition == definition})}"
        for definition in DEFINITIONS
    )
    return f"""# Figure 4: signatures of {", ".join(names)}

ICLR 2020, Figure 4: signatures of four architectures on MNIST, which "demonstrate different characteristics in their
signature images". The paper gives no number.

![Signatures]({picture}.png)

The first clean network of each architecture in the zoo, from {options.default_image}.

{verdict(names, found)}

Mean Pearson correlation of the signatures of two different networks, over all classes and pixels, after each class's
mean was taken off; of at most {options.networks} networks of each architecture; 95 % bootstrap intervals over networks.

{tables}
"""
