"""Attacks that nothing of the universal detector was fixed on: other people's, and every type of attack that is built.

The threshold comes from clean networks of other kinds, as in `any-classifier`. Beside each type of attack on
LeNet-5 stands what detectors of signatures find, from `results/attack-types`.
"""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import Annotated, NamedTuple

from pydantic import Field

from onepixel.experiments.any_classifier import SEARCHES
from onepixel.experiments.attack_types import ATTACKS
from onepixel.experiments.declared import Cells, Experiment, Laboratory, Result, interval
from onepixel.experiments.leaving_out import Kind, alike_in_sizes, calibrated_for, judged, measured, of_pool, shown
from onepixel.experiments.option import USUAL_FILE, USUAL_FOLDER
from onepixel.experiments.options import Measured
from onepixel.experiments.reach_records import Network, alike, read_folder
from onepixel.report.tables import table_of

OTHERS = {
    "mnist-mntd-patch": "MNTD: small binary pattern in one place, all to one",
    "mnist-mntd-whole-image": "MNTD: binary pattern over the whole image, blended, all to one",
    "mnist-contest-2022-patch-5-percent": "contest of 2022: binary rectangle, 5 % poison, all to one",
    "mnist-contest-2022-patch-1-percent": "contest of 2022: binary rectangle, 1 % poison, all to one",
    "mnist-contest-2022-whole-image-5-percent": "contest of 2022: noise over the whole image, 5 % poison, all to one",
    "mnist-contest-2022-whole-image-1-percent": "contest of 2022: noise over the whole image, 1 % poison, all to one",
}
"""Other people's attacks, by population."""

TYPES = {
    f"mnist-lenet5-{kind}": words
    for kind, words in {
        "virus-final": ATTACKS["virus-development"],
        "all-to-one-final": ATTACKS["attack-all-to-one"],
        **{kind: words for kind, words in ATTACKS.items() if kind not in ("virus-development", "attack-all-to-one")},
        "attack-clean-label": "all to one, one patch, clean label",
        "stamped-virus-development": "no attack: one class stamped under its true label",
    }.items()
}
"""Types of attack on LeNet-5, by population."""

SIGNATURES = {"literal": ("papers, whole, `max`", "black"), "class means": ("chosen", "class means")}
"""Detectors of signatures that stand beside: how their method's name begins, and their default image."""

BESIDE = {"virus-final": "virus-development", "all-to-one-final": "attack-all-to-one"}
"""Attacks that `results/attack-types` has under another name: other networks of the same type."""


class Row(NamedTuple):
    """How networks of one attack, the trojaned ones of a kind, fare.

    The clean ones are of the kind's final pool, trained as long as the attack's where such were measured. With
    `one_size`, patches of one size were looked for, and count, where an audit looks for several.
    """

    attack: str
    clean_accuracy: float
    attack_success: float
    kind: Kind
    one_size: bool = False


class Options(Measured):
    """Options of `onepixel experiment reach-attacks`."""

    attacks: Annotated[
        Path, Field(description="The folder of measured networks of the other types of attack."), USUAL_FOLDER
    ] = Path("results/any-classifier/attacks")
    signatures: Annotated[
        Path, Field(description="What detectors of signatures found, by `onepixel experiment attacks`."), USUAL_FILE
    ] = Path("results/attack-types/mnist-lenet5.csv")


def find(options: Options, laboratory: Laboratory) -> Result[list[Row]]:
    """Judge the networks of every attack by clean networks of other kinds."""
    rows = [row for search in SEARCHES for row in judged_by(options, search)]
    beside = found_by_signatures(options.signatures)
    return Result.of(rows, "attacks", (for_machines(row, beside) for row in rows), as_markdown(rows, beside))


EXPERIMENT = Experiment(
    "reach-attacks",
    "Other people's attacks and all types of attack before the universal detector, which saw none of them.",
    Options,
    find,
    folder="any-classifier",
    records="networks",
)


def judged_by(options: Options, search: str) -> Iterator[Row]:
    """Every attack whose networks were measured by a search."""
    if not any((options.networks / search).glob("*.csv")):
        return
    known = measured(options.networks / search)
    every = [*known, *read_folder(options.attacks / search)]
    for attack in (*OTHERS, *TYPES):
        own = [one for one in every if one.population == attack]
        if attack in OTHERS:
            own = of_pool(own, "final")
        if own:
            yield judge(own, known, [one for one in every if one.role == "clean"], search)


def judge(own: Sequence[Network], known: Sequence[Network], clean: Sequence[Network], search: str) -> Row:
    """Judge the networks of one attack, beside clean ones of their kind, by clean networks of other kinds.

    Those that were measured as an audit does; where none were, by patches of one size.
    """
    own, known, clean = next(alike_in_sizes(own, known, clean))
    kind = own[0].kind
    calibration = calibrated_for(kind, known)
    beside = of_pool([one for one in clean if one.kind == kind], "final")
    clean = [one for one in beside if alike(one.population, own[0].population)] or beside
    return Row(
        own[0].population,
        mean(one.clean_accuracy for one in own),
        mean(one.attack_success for one in own),
        Kind(kind, search, *(judged(group, calibration) for group in (clean, own, []))),
        any(one.one_size for one in own),
    )


def found_by_signatures(path: Path) -> dict[tuple[str, str], float]:
    """The share of each attack's networks that detectors of signatures find, by (detector, attack); mean over seeds."""
    shares: dict[tuple[str, str], list[float]] = {}
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                for name, (method, image) in SIGNATURES.items():
                    plain = not row["method"].endswith("stamped negatives")
                    if plain and row["method"].startswith(method) and row["default_image"] == image:
                        shares.setdefault((name, row["attack"]), []).append(float(row["found"]))
    return {key: mean(values) for key, values in shares.items()}


def others_share(row: Row, detector: str, beside: dict[tuple[str, str], float]) -> float | None:
    """What a detector of signatures finds of networks of the same attack."""
    attack = row.attack.removeprefix("mnist-lenet5-")
    return beside.get((detector, BESIDE.get(attack, attack)))


def for_machines(row: Row, beside: dict[tuple[str, str], float]) -> Cells:
    """One attack in shares; empty where something was not measured."""
    kind = row.kind
    return {
        "attack": row.attack,
        "search": kind.search,
        "one_size": row.one_size,
        "networks": len(kind.trojaned),
        "clean": len(kind.clean),
        "clean_accuracy": row.clean_accuracy,
        "attack_success": row.attack_success,
        "auroc": kind.area,
        "cross_entropy": kind.surprise,
        **interval("found", kind.trojaned.rate),
        "clean_flagged": kind.clean.flagged,
        "target_named": kind.trojaned.named,
        **{f"found_by_{name}".replace(" ", "_"): others_share(row, name, beside) for name in SIGNATURES},
    }


def as_markdown(rows: Sequence[Row], beside: dict[tuple[str, str], float]) -> str:
    """The tables for people."""
    sections = []
    for names, title, about in (
        (OTHERS, "Other people's attacks", "By the recipes `mnist-mntd-*` and `mnist-contest-2022-*`."),
        (
            TYPES,
            "Types of attack, LeNet-5 on MNIST",
            """The last two columns are shares of other networks of the same recipe, found by detectors that were
trained on LeNet-5: the papers' literal one, and the one chosen for class means (`results/attack-types`).""",
        ),
    ):
        own = [row for row in rows if row.attack in names]
        if own:
            sections.append(f"## {title}\n\n{about}\n\n{table(own, names, beside)}\n")
    return f"""# Attacks before the universal detector

Networks of each attack, judged with a threshold from clean networks of other kinds, at a p-value of at most 0.05.
AUROC is against clean networks of the same kind and pool, trained as long as the attack's where such were measured.
"One size": measured before audits looked for patches of several sizes, and judged by one size of all other networks.
Brackets: 95 % (Clopper-Pearson).

{chr(10).join(sections)}"""


def table(rows: Sequence[Row], names: dict[str, str], beside: dict[tuple[str, str], float]) -> str:
    """One line for each attack and search."""
    shares = {name: [others_share(row, name, beside) for row in rows] for name in SIGNATURES}
    known = any(share is not None for found in shares.values() for share in found)
    return table_of(
        {
            "attack": names[row.attack],
            "search": f"{row.kind.search}, one size" if row.one_size else row.kind.search,
            "attack success": f"{row.attack_success:.1%}",
            "AUROC": None if row.kind.area is None else f"{row.kind.area:.3f}",
            "found": f"{shown(row.kind.trojaned)} [{rate.low:.0%}, {rate.high:.0%}]",
            "target named": f"{row.kind.trojaned.named} of {len(row.kind.trojaned)}",
            "clean flagged": f"{row.kind.clean.flagged} of {len(row.kind.clean)}",
            **{
                name: None if found[number] is None else f"{found[number]:.0%}"
                for name, found in shares.items()
                if known
            },
        }
        for number, row in enumerate(rows)
        for rate in [row.kind.trojaned.rate]
    )
