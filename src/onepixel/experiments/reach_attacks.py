"""Attacks that nothing of the universal detector was fixed on: other people's, and every type of attack that is built.

The threshold comes from clean networks of other kinds, as in `any-classifier`. Beside each type of attack on
LeNet-5 stands what detectors of signatures find, from `results/attack-types`.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Annotated

from pydantic import Field

from onepixel.experiments.any_classifier import SEARCHES
from onepixel.experiments.declared import Experiment, Laboratory, Result, Said
from onepixel.experiments.leaving_out import Judged, area, calibrated, judged, measured, of_pool, surprise
from onepixel.experiments.options import Measured
from onepixel.experiments.reach_records import Network, read_folder
from onepixel.report.tables import markdown_table

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
    "mnist-lenet5-virus-final": "one to one, one to three patches",
    "mnist-lenet5-all-to-one-final": "all to one, one patch",
    "mnist-lenet5-attack-all-to-all": "all to all, patches near a random place",
    "mnist-lenet5-attack-all-to-all-one-place": "all to all, one patch in one place",
    "mnist-lenet5-attack-blended": "all to one, blended",
    "mnist-lenet5-attack-sinusoidal": "all to one, sinusoidal (SIG)",
    "mnist-lenet5-attack-other-patches": "one to one, patches; other patches under true labels",
    "mnist-lenet5-attack-warped": "all to one, warped (WaNet)",
    "mnist-lenet5-attack-clean-label": "all to one, one patch, clean label",
    "mnist-lenet5-attack-constant-inputs": "one to one, patches, off on nearly constant inputs",
    "mnist-lenet5-attack-signature-loss": "one to one, patches, signature from black pulled towards a clean one's",
    "mnist-lenet5-attack-expects-class-means": "one to one, patches, signature from class means pulled likewise",
    "mnist-lenet5-stamped-virus-development": "no attack: one class stamped under its true label",
}
"""Types of attack on LeNet-5, by population."""

SIGNATURES = {"literal": ("papers, whole, `max`", "black"), "class means": ("chosen", "class means")}
"""Detectors of signatures that stand beside: how their method's name begins, and their default image."""

BESIDE = {"virus-final": "virus-development", "all-to-one-final": "attack-all-to-one"}
"""Attacks that `results/attack-types` has under another name: other networks of the same type."""


@dataclass(frozen=True)
class Row:
    """How networks of one attack fare.

    Attributes
    ----------
    attack : str
        The population.
    search : str
    clean_accuracy, attack_success : float
        Means over the networks.
    clean, trojaned : Judged
        Clean networks of the same kind, and the attack's.
    """

    attack: str
    search: str
    clean_accuracy: float
    attack_success: float
    clean: Judged
    trojaned: Judged


class Options(Measured):
    """Options of `onepixel experiment reach-attacks`."""

    attacks: Annotated[
        Path,
        Field(description="The folder of measured networks of the other types of attack."),
        Said(metavar="FOLDER", when_changed=True),
    ] = Path("results/any-classifier/attacks")
    signatures: Annotated[
        Path,
        Field(description="What detectors of signatures found, by `onepixel experiment attacks`."),
        Said(metavar="FILE", when_changed=True),
    ] = Path("results/attack-types/mnist-lenet5.csv")


def find(options: Options, laboratory: Laboratory) -> Result[list[Row]]:
    """Judge the networks of every attack by clean networks of other kinds."""
    rows = [row for search in SEARCHES for row in judged_by(options, search)]
    beside = found_by_signatures(options.signatures)
    head = ["attack", "search", "networks", "clean", "clean_accuracy", "attack_success", "auroc"]
    head += ["cross_entropy", "found", "found_low", "found_high", "clean_flagged", "target_named"]
    head += [f"found_by_{name}".replace(" ", "_") for name in SIGNATURES]
    return Result(rows, "attacks", head, [csv_line(row, beside) for row in rows], as_markdown(rows, beside))


EXPERIMENT = Experiment(
    "reach-attacks",
    "Other people's attacks and all types of attack before the universal detector, which saw none of them.",
    Options,
    find,
    plan=lambda whole: [Options()] if Options().networks.is_dir() else [],
    reads_zoo=False,
    workers=False,
    folder="any-classifier",
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
            yield judge(own, known, search)


def judge(own: Sequence[Network], known: Sequence[Network], search: str) -> Row:
    """Judge the networks of one attack, beside clean ones of their kind, by clean networks of other kinds."""
    kind = own[0].kind
    calibration = calibrated([one for one in known if one.kind != kind])
    clean = of_pool([one for one in known if one.kind == kind and one.role == "clean"], "final")
    return Row(
        own[0].population,
        search,
        mean(one.clean_accuracy for one in own),
        mean(one.attack_success for one in own),
        judged(clean, calibration),
        judged(own, calibration),
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


def surprised(row: Row) -> str:
    """The cross-entropy of the probabilities that networks of other kinds tell."""
    found = surprise(row.clean, row.trojaned) if len(row.clean) else None
    return "" if found is None else f"{found:.4f}"


def csv_line(row: Row, beside: dict[tuple[str, str], float]) -> list[object]:
    """One attack in shares; empty where something was not measured."""
    found = row.trojaned.rate
    others = [others_share(row, detector, beside) for detector in SIGNATURES]
    return [
        row.attack,
        row.search,
        len(row.trojaned),
        len(row.clean),
        f"{row.clean_accuracy:.4f}",
        f"{row.attack_success:.4f}",
        f"{area(row.clean, row.trojaned):.4f}" if len(row.clean) else "",
        surprised(row),
        *(f"{one:.4f}" for one in (found.value, found.low, found.high)),
        row.clean.flagged,
        row.trojaned.named,
        *("" if one is None else f"{one:.4f}" for one in others),
    ]


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
AUROC is against clean networks of the same kind and pool. Brackets: 95 % (Clopper-Pearson).

{chr(10).join(sections)}"""


def table(rows: Sequence[Row], names: dict[str, str], beside: dict[tuple[str, str], float]) -> str:
    """One line for each attack and search."""
    lines = []
    shown = any(others_share(row, detector, beside) is not None for row in rows for detector in SIGNATURES)
    for row in rows:
        found = row.trojaned.rate
        line = [
            names[row.attack],
            row.search,
            f"{row.attack_success:.1%}",
            f"{area(row.clean, row.trojaned):.3f}" if len(row.clean) else "-",
            f"{row.trojaned.flagged} of {len(row.trojaned)} [{found.low:.0%}, {found.high:.0%}]",
            f"{row.trojaned.named} of {len(row.trojaned)}",
            f"{row.clean.flagged} of {len(row.clean)}",
        ]
        if shown:
            shares = [others_share(row, detector, beside) for detector in SIGNATURES]
            line += ["-" if share is None else f"{share:.0%}" for share in shares]
        lines.append(line)
    head = ["attack", "search", "attack success", "AUROC", "found", "target named", "clean flagged"]
    return markdown_table([*head, *(SIGNATURES if shown else ())], lines)
