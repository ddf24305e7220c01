"""Attack types that a detector never saw, attackers who know onepixel, and what another default image changes.

Detectors are trained on clean and vaccine models alone. Each attack type is a population of its own; its models stand
against the same held-out clean ones. The papers disagree about all-to-all: ECCV says above 95 %, ICLR says it fails.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from onepixel.detectors import Estimate, Evaluation
from onepixel.detectors.metrics import bootstrap_mean
from onepixel.errors import UsageError
from onepixel.experiments.choices import Method, papers
from onepixel.experiments.declared import Cells, Experiment, Laboratory, Result, interval
from onepixel.experiments.judging import CROSS_ENTROPY, Job, grouped, judge_all, over_seeds, rates
from onepixel.experiments.models import Training, load_training, training_names
from onepixel.experiments.options import Chosen, Prefixed, Seeded, Seeds, Split
from onepixel.populations.models import Models, has, load_models
from onepixel.populations.names import BLACK, MAIN, STARTS, PopulationName, Start
from onepixel.report.tables import markdown_table
from onepixel.signatures import Settings

ATTACKS = {
    "virus-development": "one to one, patches",
    "attack-all-to-one": "all to one, patches",
    "attack-all-to-all": "all to all, patches near a random place",
    "attack-all-to-all-one-place": "all to all, one patch in one place",
    "attack-blended": "all to one, blended",
    "attack-sinusoidal": "all to one, sinusoidal (SIG)",
    "attack-warped": "all to one, warped (WaNet)",
    "attack-constant-inputs": "one to one, patches, off on nearly constant inputs",
    "attack-signature-loss": "one to one, patches, signature from black pulled towards a clean one",
    "attack-expects-class-means": "one to one, patches, signature from class means pulled towards a clean one",
    "attack-other-patches": "one to one, patches; other patches under true labels",
}
"""Every attack type: the middle of its population's name, and what it is. The first is the one that the papers test."""

HIDING = ("virus-development", "attack-constant-inputs", "attack-signature-loss", "attack-expects-class-means")
"""The attack types that are looked at under every default image."""

IMAGES = tuple(start for start in STARTS.values() if not start.coarser)
"""Every default image once."""


@dataclass(frozen=True)
class Row:
    """What one detector says of one attack type.

    Attributes
    ----------
    method : Method
    seed : int
        The detector's.
    start : Start
        What signatures start from.
    attack : str
        A key of `ATTACKS`.
    models : Models
        The attack's.
    result : Evaluation
        Of those models against the clean ones that were held back.
    """

    method: Method
    seed: int
    start: Start
    attack: str
    models: Models
    result: Evaluation


def methods(chosen: Method, training: Training, start: Start) -> list[Method]:
    """The papers' CNN in both readings and the chosen detector, with stamped negatives too.

    Under default images that are not `MAIN`, the chosen detector alone.
    """
    if start not in MAIN:
        return [chosen]
    stamped = replace(chosen.stamped, name=f"{chosen.name}, stamped negatives")
    return [*papers(0, -1), chosen, *([stamped] if training.stamped is not None else [])]


def load_attacks(zoo: Path, networks: PopulationName, settings: Settings) -> dict[str, Models]:
    """Read the attack populations that a zoo has of these networks.

    Raises
    ------
    UsageError
        If one was signed with other settings than the clean models.
    """
    names = {attack: networks.of(attack) for attack in attacks_under(networks.start)}
    return {attack: load_models(zoo, name, settings)[0] for attack, name in names.items() if has(zoo, name)}


def attacks_under(start: Start) -> Sequence[str]:
    """The attack types that are looked at under a default image."""
    return tuple(ATTACKS) if start in MAIN else HIDING


def missing_populations(zoo: Path, networks: PopulationName) -> list[PopulationName]:
    """Everything that these tables could show and a zoo lacks."""
    names = [
        replace(networks.of(kind), start=start)
        for start in IMAGES
        for kind in (*(() if start == BLACK else ("clean", "vaccine")), *attacks_under(start))
    ]
    return [name for name in names if not has(zoo, name)]


class Options(Seeded, Chosen, Split, Prefixed):
    """Options of `onepixel experiment attacks`."""

    seeds: Seeds = 3


def jobs_under(start: Start, options: Options, zoo: Path, chosen: Method) -> list[Job]:
    """The detectors to be fitted under one default image; none where there is nothing to train on or to judge."""
    networks = replace(options.networks, start=start)
    if not has(zoo, *training_names(networks)):
        return []
    training = load_training(zoo, networks, options.training_clean)
    attacks = load_attacks(zoo, networks, training.settings)
    tests = {"clean": training.spare, **attacks}
    found = [(method, seed) for method in methods(chosen, training, start) for seed in options.numbers]
    return [Job(method, seed, training, tests, (start,)) for method, seed in found if attacks]


def find(options: Options, laboratory: Laboratory) -> Result[list[Row]]:
    """Judge every attack type that the zoo has."""
    zoo, networks, chosen = laboratory.zoo, options.networks, options.chosen()
    jobs = [job for start in IMAGES for job in jobs_under(start, options, zoo, chosen)]
    if not any(job.about == (BLACK,) for job in jobs):
        raise UsageError(f"{zoo} has no population of an attack on {networks}.")
    rows = [
        Row(one.method, one.seed, one.job.about[0], attack, models, one.judged.evaluation(trojaned=attack))
        for one in judge_all(jobs, laboratory, "detectors")
        for attack, models in one.job.tests.items()
        if attack != "clean"
    ]
    text = as_markdown(networks, {job.about[0]: job.training for job in jobs}, rows)
    missing = missing_populations(zoo, networks)
    return Result.of(rows, options.subject, map(for_machines, rows), text, missing=missing)


EXPERIMENT = Experiment(
    "attacks",
    "Attack types that no detector saw, attackers who know onepixel, and other default images.",
    Options,
    find,
    paper="ECCV section 4; ICLR Table 6",
    needs=lambda options: training_names(options.networks),
    plan=lambda whole: whole.repeated(Options, whole.from_black),
    folder="attack-types",
    after={"table2": ("prefix",), "sensitivity": ("prefix",), "detectors": ("prefix",)},
)


def for_machines(row: Row) -> Cells:
    """One row with every interval."""
    return {
        "method": row.method.name,
        "default_image": str(row.start),
        "attack": row.attack,
        "seed": row.seed,
        "models": len(row.models),
        **interval("attack_success", mean_of(row.models, "attack_success")),
        **interval("clean_accuracy", mean_of(row.models, "clean_accuracy")),
        **interval("detection_rate", row.result.detection_rate),
        **interval("auroc", row.result.auroc),
        **interval("cross_entropy", row.result.cross_entropy),
        **interval("found", row.result.true_positive_rate),
        **interval("false_alarms", row.result.false_positive_rate),
    }


def mean_of(models: Models, what: str) -> Estimate:
    """Mean of "attack_success" or "clean_accuracy" over models."""
    return bootstrap_mean(np.array([getattr(record, what) for record in models.records]))


RATES = ("detection rate", "AUROC", "cross-entropy", "found")


def cells(rows: Sequence[Row]) -> list[str]:
    """How many models an attack has, how well it works, and how well it is found."""
    worked = (over_seeds([mean_of(rows[0].models, what)], ".2%") for what in ("attack_success", "clean_accuracy"))
    return [str(len(rows[0].models)), *worked, *rates([row.result for row in rows], RATES)]


def by_attack(rows: Sequence[Row], method: str, start: Start) -> dict[str, list[Row]]:
    """A method's rows under one default image by attack."""
    return grouped([row for row in rows if (row.method.name, row.start) == (method, start)], lambda row: row.attack)


def false_alarms(rows: Sequence[Row]) -> str:
    """The share of clean models that are called trojaned."""
    return rates([row.result for row in rows], ["false alarms"])[0]


def main_section(rows: Sequence[Row], training: Training, start: Start) -> str:
    """Every detector and attack type under one default image."""
    parts = []
    for name in dict.fromkeys(row.method.name for row in rows if row.start == start):
        groups = by_attack(rows, name, start)
        lines = [[ATTACKS[attack], *cells(group)] for attack, group in groups.items()]
        table = markdown_table(["attack", "models", "attack success", "clean accuracy", *RATES], lines)
        alarms = false_alarms(next(iter(groups.values())))
        parts.append(f"### {start}: {name}\n\nFalse alarms: {alarms}.\n\n{table}\n")
    held_back = (
        f"{training.settings.values} intensities per pixel. Trained on {training}; tested against "
        f"{len(training.spare)} clean models."
    )
    return f"## Signatures from {start}\n\n{held_back}\n\n" + "\n".join(parts)


def image_section(rows: Sequence[Row]) -> str:
    """One line per default image and attack type that hides; empty if all started from the same image."""
    starts = list(dict.fromkeys(row.start for row in rows))
    if len(starts) < 2:
        return ""
    lines = []
    for start in starts:
        name = next(row.method.name for row in rows if row.start == start and row.method.name.startswith("chosen"))
        for attack, group in by_attack(rows, name, start).items():
            if attack in HIDING:
                models, _, _, *told = cells(group)
                lines.append([start, name, ATTACKS[attack], models, *told, false_alarms(group)])
    head = ["default image", "detector", "attack", "models", *RATES, "false alarms"]
    return (
        "## The defender's choice of default image\n\nTrained and tested on signatures that start from the same "
        "image. An attack's networks are the same under each. From class means there are fewer intensities per pixel "
        "and fewer training models; where no detector was chosen for an image, it is black's.\n\n"
        f"{markdown_table(head, lines)}\n"
    )


def as_markdown(networks: PopulationName, training: Mapping[Start, Training], rows: Sequence[Row]) -> str:
    """The tables for people."""
    parts = [main_section(rows, training[start], start) for start in MAIN if start in training]
    parts.append(image_section(rows))
    sections = "\n".join(part for part in parts if part)
    return f"""# Attack types, {networks}

Detectors never saw any of these attacks: they train on clean and vaccine models, which carry random patches that send
one class to one, and on stamped ones only where it says so. Detection rate is balanced accuracy at the threshold fixed
by cross-validation on the training models; "found" is the share of an attack's models that are called trojaned. Means
over {len({row.seed for row in rows})} detector seed(s), ± their standard deviation, in
brackets the first seed's 95 % intervals over models
(bootstrap, for "found" and false alarms Clopper-Pearson). Attack success and clean accuracy are means over the models
that count: those that reached their recipe's thresholds, or all where it enforces none. Viruses are of the development
pool; the final pool was not opened.

{CROSS_ENTROPY}

{sections}"""
