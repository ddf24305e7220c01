"""Each compared method on ground like its own authors': it is compared only if it works there.

Settings are small ones of each paper's kind, and methods run with the cheap settings of this project (see their
docstrings), so that the question is whether *this* implementation works, not whether a paper can be repeated.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from onepixel.detectors.metrics import Estimate, auroc, share_of
from onepixel.errors import UsageError
from onepixel.experiments.declared import Cells, Experiment, Laboratory, Result, interval
from onepixel.experiments.method_records import (
    Judgement,
    Judging,
    ScoresFolder,
    judge_store,
    judgements_of,
    shadows_for,
    trained,
)
from onepixel.methods import METHODS
from onepixel.populations.store import Store
from onepixel.report.tables import table_of

TABLE = Path("results/validate/validation.csv")


class Ground(NamedTuple):
    """Where a method has to work.

    Attributes
    ----------
    method : str
    setting : str
        In words.
    paper : str
        What its authors report in their own setting.
    clean, trojaned : tuple of str
        Populations.
    least_found : float
        Share of trojaned networks that its published rule finds at least.
    most_flagged : float
        Share of clean networks that it flags at most.
    least_area : float
        Area under the curve at least; what methods with scores alone are asked for.
    """

    method: str
    setting: str
    paper: str
    clean: tuple[str, ...]
    trojaned: tuple[str, ...]
    least_found: float = 0.9
    most_flagged: float = 0.2
    least_area: float = 0.0


CORNER = (("mnist-lenet5-clean-shadow",), ("mnist-lenet5-corner-square",))
CORNER_WORDS = "MNIST, LeNet-5, all to one, a white square of 4 x 4 pixels in the corner (BadNets)"
MNTD_WORDS = "MNIST, its authors' network, patches and whole-image patterns drawn as there"
MNTD = (("mnist-mntd-clean",), ("mnist-mntd-patch", "mnist-mntd-whole-image"))
CIFAR_WORDS = "CIFAR-10, small random architectures, a shrunken traffic sign in one place, all to one and one to one"
CIFAR = (("cifar10-random-clean-final",), ("cifar10-random-all-to-one-final", "cifar10-random-virus-final"))

GROUNDS = (
    Ground("neural-cleanse", CORNER_WORDS, "infected networks above 3, clean ones below 2 (section V)", *CORNER),
    Ground("abs", CORNER_WORDS, "over 90 % found in most settings, 100 % in many (abstract)", *CORNER),
    Ground("b3d", CORNER_WORDS, "as well as Neural Cleanse (abstract)", *CORNER),
    Ground("mm-bd", CIFAR_WORDS, "works on CIFAR-10, ResNet-18, with patches and other attacks (abstract)", *CIFAR),
    Ground("mntd", MNTD_WORDS, "AUROC 0.97, 4,096 shadow networks (abstract)", *MNTD, 0.0, 1.0, 0.9),
    Ground("ulp", MNTD_WORDS, "AUROC near 1, thousands of networks (abstract)", *MNTD, 0.0, 1.0, 0.9),
)
"""Every method's ground; modelaudit has no authors who claim a rate, so it has none."""

FEWEST = 10
"""Clean, and trojaned, networks without which a method is not said to work."""


class Validation(NamedTuple):
    """How a method did on its ground."""

    ground: Ground
    clean: tuple[Judgement, ...]
    trojaned: tuple[Judgement, ...]

    @property
    def found(self) -> Estimate:
        """Share of trojaned networks that the published rule flags."""
        return share_of(one.flagged for one in self.trojaned)

    @property
    def flagged(self) -> Estimate:
        """Share of clean networks that it flags."""
        return share_of(one.flagged for one in self.clean)

    @property
    def area(self) -> float:
        """Area under the curve."""
        return auroc(np.array([one.score for one in self.clean]), np.array([one.score for one in self.trojaned]))

    @property
    def named(self) -> int:
        """Trojaned networks whose target it names."""
        return sum(one.named for one in self.trojaned)

    @property
    def missing(self) -> list[str]:
        """What is asked for and not there, in words; nothing if the method works."""
        ground, found, flagged = self.ground, len(self.trojaned), len(self.clean)
        said = []
        if self.found.value < ground.least_found:
            said.append(f"finds {self.found.value:.0%} of {found}, not {ground.least_found:.0%}")
        if self.flagged.value > ground.most_flagged:
            said.append(
                f"flags {self.flagged.value:.0%} of {flagged} clean ones, not at most {ground.most_flagged:.0%}"
            )
        if self.area < ground.least_area:
            said.append(f"AUROC {self.area:.2f}, not {ground.least_area}")
        if min(found, flagged) < FEWEST:
            said.append(f"fewer than {FEWEST} networks of a sort")
        return said

    @property
    def names(self) -> bool:
        """Whether it names targets at all."""
        return any(one.target is not None for one in self.trojaned)

    @property
    def works(self) -> bool:
        """Whether it does what is asked, on enough networks."""
        return not self.missing


class Options(Judging):
    """Options of `onepixel experiment validate`; the stores of shadow networks are among those of `stores`."""

    scores: ScoresFolder = Path("results/validate/scores")


def find(options: Options, laboratory: Laboratory) -> Result[list[Validation]]:
    """Judge what is new, and say of each method whether it works."""
    if unknown := set(options.method) - {ground.method for ground in GROUNDS}:
        known = ", ".join(ground.method for ground in GROUNDS)
        raise UsageError(f"Expected one of {known} for a method that is validated but got {sorted(unknown)[0]!r}.")
    if options.stores is not None:
        for ground in (one for one in GROUNDS if not options.method or one.method in options.method):
            judge(ground, options.stores, options.scores, options.most)
    found = [one for ground in GROUNDS if (one := validation(ground, options.scores)) is not None]
    if not found:
        raise options.none_judged("validate")
    return Result.of(found, "validation", map(for_machines, found), as_markdown(found))


EXPERIMENT = Experiment(
    "validate",
    "Does each compared method work on ground like its own authors'?",
    Options,
    find,
    records="scores",
)


def judge(ground: Ground, stores: Path, scores: Path, most: int | None) -> None:
    """Judge the networks of a ground that have no row yet; populations that are not there are left out."""
    for name in (*ground.clean, *ground.trojaned):
        if (stores / name / "recipe.toml").exists():
            store = Store.open(stores / name)
            way = trained(ground.method, shadows_for(store, stores))
            for _ in judge_store(store, way, scores, most) if way is not None else ():
                pass


def validation(ground: Ground, scores: Path) -> Validation | None:
    """What a method said on its ground; None before it said anything of clean and of trojaned networks."""
    rows = [one for one in judgements_of(scores, ground.method) if not np.isnan(one.score)]
    clean, trojaned = (
        tuple(one for one in rows if one.population in names) for names in (ground.clean, ground.trojaned)
    )
    return Validation(ground, clean, trojaned) if clean and trojaned else None


def validated(table: Path) -> dict[str, bool]:
    """Which methods were tried on their ground, and whether they worked, from the table that this experiment wrote."""
    import csv

    if not table.exists():
        return {}
    with table.open(encoding="utf-8", newline="") as file:
        return {row["method"]: row["validated"] == "yes" for row in csv.DictReader(file)}


def for_machines(one: Validation) -> Cells:
    """One method's row for machines."""
    return {
        "method": one.ground.method,
        "setting": one.ground.setting,
        "clean": len(one.clean),
        "trojaned": len(one.trojaned),
        **interval("found", one.found),
        **interval("flagged", one.flagged),
        "auroc": one.area,
        "target_named": one.named / len(one.trojaned) if one.names else None,
        "paper": one.ground.paper,
        "validated": one.works,
    }


def as_markdown(found: Sequence[Validation]) -> str:
    """The table for people."""
    table = table_of(
        {
            "method": METHODS[one.ground.method].title,
            "setting": one.ground.setting,
            "trojaned found": f"{sum(bool(row.flagged) for row in one.trojaned)} of {len(one.trojaned)}",
            "clean flagged": f"{sum(bool(row.flagged) for row in one.clean)} of {len(one.clean)}",
            "AUROC": f"{one.area:.3f}",
            "target named": f"{one.named} of {len(one.trojaned)}" if one.names else None,
            "its authors report": one.ground.paper,
            "works": "yes" if one.works else f"**no**: {'; '.join(one.missing)}",
        }
        for one in found
    )
    return f"""# Compared methods on their own ground

A method is said to work if its published rule finds at least nine in ten trojaned networks and flags at most one in
five clean ones; MNTD and Universal Litmus Patterns, which have no rule that a few shadow networks could calibrate, if
their area under the curve is at least 0.9. At least {FEWEST} networks of each sort are asked for. What does not work
here is not compared: `onepixel experiment compare` leaves it out.

{table}

modelaudit's authors claim no rate for its weight check, so there is no ground to try it on; it is compared as it is.
"""
