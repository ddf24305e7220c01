"""Table 3 by the universal detector: architectures that it never saw, as ECCV's Table 3 and ICLR's Table 2 ask for.

The networks are those of `table3`'s recipes, built again by their seeds, and LeNet-5 of the kinds `mnist-lenet5` and
`fashion-lenet5`. The threshold comes from clean networks of other kinds.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from onepixel.errors import UsageError
from onepixel.experiments.any_classifier import SEARCHES, has_enough, judge
from onepixel.experiments.declared import Experiment, Laboratory, Result
from onepixel.experiments.leaving_out import (
    Kind,
    alike_in_sizes,
    as_audited,
    calibrated_for,
    for_machines,
    measured,
    of_pool,
    seen_networks,
    table,
    unseen,
)
from onepixel.experiments.option import USUAL_FOLDER
from onepixel.experiments.options import Measured
from onepixel.experiments.reach_records import read_folder

LENETS = ("mnist-lenet5", "fashion-lenet5")
"""Kinds of `any-classifier` that stand beside, by networks of their final pools."""

PAPER = {"mnist-lenet5": 85.2, "mnist-resnet8": 76.5, "mnist-vgg10": 80.0}
"""ECCV Table 3, MNIST: detection rate in percent on the architecture that was left out."""


class Options(Measured):
    """Options of `onepixel experiment reach-architectures`."""

    architectures: Annotated[
        Path, Field(description="The folder of measured networks of the other architectures."), USUAL_FOLDER
    ] = Path("results/any-classifier/architectures")


def find(options: Options, laboratory: Laboratory) -> Result[list[Kind]]:
    """Judge every architecture's networks by clean networks of other kinds.

    Raises
    ------
    UsageError
        If no architecture has clean and trojaned networks that were measured.
    """
    kinds = [kind for search in SEARCHES for kind in judged_by(options, search)]
    if not kinds:
        raise UsageError(f"There are no measured networks of other architectures in {options.architectures}.")
    records = map(for_machines, kinds)
    return Result.of(kinds, "architectures", records, as_markdown(kinds))


EXPERIMENT = Experiment(
    "reach-architectures",
    "Table 3 by the universal detector: architectures that it never saw.",
    Options,
    find,
    records="architectures",
    folder="any-classifier",
    paper="ECCV Table 3; ICLR Table 2",
)


def judged_by(options: Options, search: str) -> list[Kind]:
    """Every architecture whose networks were measured by a search."""
    every = read_folder(options.architectures / search)
    if not every:
        return []
    known = measured(options.networks / search)
    audited = as_audited(known)
    final = of_pool(audited, "final")
    kinds = [judge(audited, kind, final) for kind in LENETS if has_enough(audited, kind, final)]
    seen = seen_networks(options.networks)
    for name in sorted({one.kind for one in every}):
        own, others = next(alike_in_sizes([one for one in every if one.kind == name], known))
        fresh = unseen(own, seen)
        name += ", one size of patch" if any(one.one_size for one in own) else ""
        calibration = calibrated_for(own[0].kind, others)
        kinds.append(Kind.of(name, own, calibration))
        if 0 < len(fresh) < len(own):
            kinds.append(Kind.of(f"{name}, not looked at before", fresh, calibration))
    return [kind for kind in kinds if len(kind.clean) and len(kind.trojaned)]


def as_markdown(kinds: Sequence[Kind]) -> str:
    """The table for people."""
    paper = ", ".join(f"{name} {rate} %" for name, rate in PAPER.items())
    return f"""# Table 3 by the universal detector

Architectures that are no part of what fixed the threshold, clean networks of other kinds. Viruses are
one-to-one; those of the LeNets half one-to-one, half all-to-one, of final pools. ECCV's Table 3 has, with the
architecture left out: {paper}. Where search or score were chosen with some of an architecture's networks in view
(`results/any-classifier/networks/seen.csv`), the others have a row of their own. What detectors of signatures reach on
other networks of the same recipes is in `results/table3`. "One size of patch": measured before audits looked for
several sizes, and judged by one size of all other networks. Brackets: both rates' Clopper-Pearson ends together, which
is cautious.

{table(kinds, "architecture")}
"""
