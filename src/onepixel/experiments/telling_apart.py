"""Telling groups of networks apart by their signatures, as ICLR 2020 does architectures and data sets.

The papers' vanilla CNN, with one output per group, is fitted to 80 % of the networks and names the group of the others.
Splits are those of a five-fold cross-validation, repeated, so that every network is tested equally often and never by a
CNN that saw it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from sklearn.model_selection import StratifiedKFold
from torch.nn import functional

from onepixel.detectors.baselines import logistic_regression
from onepixel.detectors.features import maps
from onepixel.detectors.metrics import Estimate, clopper_pearson
from onepixel.detectors.readings.descent import Descent
from onepixel.detectors.readings.vanilla_cnn import VanillaCNN
from onepixel.detectors.scaling import found_scaling, scaled
from onepixel.errors import UsageError
from onepixel.experiments.declared import Cells, Laboratory, Result
from onepixel.experiments.judging import grouped
from onepixel.experiments.options import Seeded
from onepixel.populations.models import Name, has, load_models
from onepixel.populations.training import fast_floats
from onepixel.report.tables import table_of
from onepixel.threads import one_thread

FOLDS = 5
"""Four fifths train and one fifth tests, as in the paper."""

DESCENT = Descent(epochs=20, batch_size=32, learning_rate=4e-3, weight_decay=1e-3)
"""How the CNN is trained. The paper gives no details."""

FEWEST = 10
"""A group of fewer networks is left out: a test of one or two of them says nothing."""


@dataclass(frozen=True)
class Way:
    """How a group is named from a signature.

    Attributes
    ----------
    definition : str
        What the CNN sees of a signature; empty for a baseline.
    scaling : str
        As a `Detector` has it: "global", or "own", where every signature is standardised by itself, so that its
        structure is left and its scale is not.
    permuted : bool
        Groups are dealt out at random before. What is then found is chance, or a leak.
    baseline : str
        "scale" (mean and standard deviation of the log-odds' rises and falls) or "base" (the log-odds of the default
        image), read by a logistic regression; empty for the CNN.
    """

    definition: str = ""
    scaling: str = "global"
    permuted: bool = False
    baseline: str = ""


PAPER, OURS = "papers' CNN, `largest_change`", "papers' CNN, `log_odds`"

WAYS = {
    PAPER: Way("largest_change"),
    OURS: Way("log_odds"),
    f"{PAPER}, each standardised": Way("largest_change", "own"),
    f"{OURS}, each standardised": Way("log_odds", "own"),
    f"{OURS}, permuted groups": Way("log_odds", permuted=True),
    "scale of the signature alone": Way(baseline="scale"),
    "log-odds of the default image alone": Way(baseline="base"),
}
"""ICLR's equation 1 under the papers' CNN, ours, both without scale, the control, and what a child could think of."""

Groups = Mapping[str, NDArray[np.void]]
"""Signatures, as rows of a store's array, by the name of their group."""


@dataclass(frozen=True)
class Job:
    """One question, one way to answer it, and one repetition of the splits."""

    question: str
    groups: Groups
    way: str
    seed: int


@dataclass(frozen=True)
class Told:
    """What was said about every network by what had not seen it.

    Attributes
    ----------
    question, way : str
    names : tuple of str
        The groups.
    truth, said : array of shape (N,)
        Numbers of groups.
    folds : array of shape (N,)
        The split in which a network was tested.
    """

    question: str
    way: str
    names: tuple[str, ...]
    truth: NDArray[np.int64]
    said: NDArray[np.int64]
    folds: NDArray[np.int64]

    @property
    def right(self) -> NDArray[np.bool_]:
        """Which networks were named rightly."""
        return self.truth == self.said

    @property
    def by_split(self) -> list[float]:
        """The share of right answers in each split."""
        return [float(self.right[self.folds == fold].mean()) for fold in range(FOLDS)]

    @property
    def balanced(self) -> float:
        """The mean over groups of the share of right answers."""
        return float(np.mean([self.right[self.truth == group].mean() for group in range(len(self.names))]))

    @property
    def share(self) -> Estimate:
        """The share of networks that were named rightly, with its exact interval."""
        return clopper_pearson(int(self.right.sum()), len(self.right))


def tell(job: Job) -> Told:
    """Name the group of every network by what was fitted to four fifths of the others."""
    way, names = WAYS[job.way], tuple(job.groups)
    rows = np.concatenate(list(job.groups.values()))
    truth = np.repeat(np.arange(len(names)), [len(group) for group in job.groups.values()])
    if way.permuted:
        truth = np.random.default_rng(job.seed).permutation(truth)
    seen_by = _features(rows, way)
    said, folds = np.empty_like(truth), np.empty_like(truth)
    splitter = StratifiedKFold(FOLDS, shuffle=True, random_state=job.seed)
    with one_thread(), fast_floats():
        for fold, (seen, unseen) in enumerate(splitter.split(seen_by, truth)):
            folds[unseen] = fold
            if way.baseline:
                said[unseen] = logistic_regression().fit(seen_by[seen], truth[seen]).predict(seen_by[unseen])
            else:
                center, scale = found_scaling(way.scaling, seen_by[seen], truth[seen] == 0)
                inputs = scaled(way.scaling, seen_by, center, scale)[:, 0].astype(np.float32)
                network = fit(inputs[seen], truth[seen], len(names), FOLDS * job.seed + fold)
                said[unseen] = answers(network, inputs[unseen])
    return Told(job.question, job.way, names, truth, said, folds)


def _features(rows: NDArray[np.void], way: Way) -> NDArray[Any]:
    """What is seen of signatures: maps (N, 1, K, H, W), or a baseline's numbers (N, F)."""
    if way.baseline == "base":
        return np.asarray(rows["base"])
    if way.baseline == "scale":
        found = maps(rows, "log_odds+log_odds_fall").reshape(len(rows), 2, -1)
        return np.log(np.concatenate([found.mean(axis=2), found.std(axis=2)], axis=1) + 1e-6)
    return maps(rows, way.definition)


def fit(signatures: NDArray[np.float32], truth: NDArray[np.int64], groups: int, seed: int) -> VanillaCNN:
    """Train the CNN on signatures (N, K, H, W); every group weighs the same in the loss."""
    inputs, wanted = torch.as_tensor(signatures), torch.as_tensor(truth)
    counts = torch.bincount(wanted, minlength=groups)
    weights = len(wanted) / (groups * counts.clamp(min=1).float())
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = VanillaCNN(signatures.shape[1], signatures.shape[2], signatures.shape[3], groups)

        def loss_of(chosen: torch.Tensor) -> torch.Tensor:
            return functional.cross_entropy(network(inputs[chosen]).view(len(chosen), groups), wanted[chosen], weights)

        DESCENT.train(network, loss_of, len(inputs), generator)
    return network.eval()


def answers(network: VanillaCNN, signatures: NDArray[np.float32]) -> NDArray[np.int64]:
    """The numbers (N,) of the groups that the CNN names."""
    with torch.inference_mode():
        found: NDArray[np.int64] = network(torch.as_tensor(signatures)).argmax(dim=1).numpy()
    return found


def read_groups(zoo: Path, names: Mapping[str, Name], most: int) -> tuple[dict[str, NDArray[np.void]], list[Name]]:
    """Read clean networks by group, and say which populations are missing or too small.

    Parameters
    ----------
    zoo : path
    names : mapping of str to population name
        Populations by the name of their group.
    most : int
        So many networks of each at the most, the first ones.

    Raises
    ------
    UsageError
        If signatures were made with different numbers of intensities, so that they cannot be compared.
    """
    found: dict[str, NDArray[np.void]] = {}
    absent: list[Name] = []
    grids = set()
    for group, name in names.items():
        models, settings = load_models(zoo, name) if has(zoo, name) else (None, None)
        if models is None or settings is None or len(models) < FEWEST:
            absent.append(name)
            continue
        found[group] = models.rows[:most]
        grids.add((settings.values, settings.inclusive))
    if len(grids) > 1:
        raise UsageError(f"{', '.join(map(str, names.values()))} were signed on different intensities.")
    return found, absent


class Asked(Seeded):
    """How often networks are asked about, and how many."""

    repeats: Annotated[int, Field(ge=1, description="How often networks are split into five parts anew.")] = 1
    networks: Annotated[int, Field(ge=10, description="Networks per architecture and data set at the most.")] = 60

    def ask(
        self, asked: Mapping[str, Groups], ways: Callable[[str], Iterable[str]], laboratory: Laboratory, label: str
    ) -> list[Told]:
        """Answer every question in the ways that it is to be answered in, as often as is wanted."""
        seeds = range(self.seed, self.seed + self.repeats)
        jobs = [
            Job(question, groups, way, seed)
            for question, groups in asked.items()
            for way in ways(question)
            for seed in seeds
        ]
        return list(laboratory.each(tell, jobs, label, "cross-validations"))


def by_question(told: Sequence[Told]) -> dict[tuple[str, str], list[Told]]:
    """Repetitions of the same question in the same way together, in their order."""
    return grouped(told, lambda one: (one.question, one.way))


def spread(repetitions: Sequence[Told]) -> tuple[float, float]:
    """Mean and standard deviation of the share of right answers over splits."""
    shares = [share for one in repetitions for share in one.by_split]
    return float(np.mean(shares)), float(np.std(shares, ddof=1))


PaperOf = Callable[[Told], tuple[float, float] | None]
"""What the paper has to a question: accuracy in percent and what stands after its "±"."""


def told_result(
    told: list[Told], name: str, paper_of: PaperOf, text: str, absent: Sequence[Name]
) -> Result[list[Told]]:
    """The result, with a row per question and way for machines."""
    records = (for_machines(group, paper_of) for group in by_question(told).values())
    return Result.of(told, name, records, text, missing=absent)


def for_machines(repetitions: Sequence[Told], paper_of: PaperOf) -> Cells:
    """One row for machines."""
    first, (mean, deviation) = repetitions[0], spread(repetitions)
    return {
        "question": first.question,
        "way": first.way,
        "networks": len(first.truth),
        "splits": FOLDS * len(repetitions),
        "accuracy": mean,
        "sd": deviation,
        "low": first.share.low,
        "high": first.share.high,
        "balanced": _balanced(repetitions),
        "chance": _chance(first),
        "paper": _printed(first, paper_of),
    }


def table(groups: Iterable[Sequence[Told]], paper_of: PaperOf) -> str:
    """Rows for people; the interval is the first repetition's, in which every network is tested once."""
    return table_of(
        {
            "": first.question,
            "seen by": first.way,
            "networks": " + ".join(str(int((first.truth == group).sum())) for group in range(len(first.names))),
            "accuracy": "{:.1%} ± {:.1%}".format(*spread(repetitions)),
            "95 %": f"{first.share.low:.1%} to {first.share.high:.1%}",
            "mean over groups": f"{_balanced(repetitions):.1%}",
            "chance": f"{_chance(first):.0%}",
            "paper": _printed(first, paper_of),
        }
        for repetitions in groups
        for first in repetitions[:1]
    )


def _printed(told: Told, paper_of: PaperOf) -> str:
    known = paper_of(told)
    return "" if known is None else f"{known[0]:.2f} ± {known[1]:.2f} %"


def _balanced(repetitions: Sequence[Told]) -> float:
    return float(np.mean([one.balanced for one in repetitions]))


def _chance(told: Told) -> float:
    """The accuracy of naming the largest group always."""
    return float(np.bincount(told.truth).max() / len(told.truth))
