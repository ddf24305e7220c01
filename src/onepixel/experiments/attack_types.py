"""Attack types that a detector never saw, attackers who know onepixel, and what another default image changes.

Detectors are trained on clean and vaccine models alone. Each attack type is a population of its own; its models stand
against the same held-out clean ones. The papers disagree about all-to-all: ECCV says above 95 %, ICLR says it fails.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onepixel.detectors import Detector, Estimate, Evaluation, evaluate_scores
from onepixel.detectors.metrics import bootstrap_mean
from onepixel.errors import UsageError
from onepixel.experiments.candidates import LITERAL
from onepixel.experiments.choices import Choice, read_choice
from onepixel.experiments.declared import Experiment, Laboratory, Result
from onepixel.experiments.fitting import fitted
from onepixel.experiments.models import (
    IMAGES,
    MAIN,
    Models,
    Training,
    has,
    load_models,
    load_training,
    training_names,
)
from onepixel.experiments.options import Chosen, Prefixed, Seeded, Seeds, Split
from onepixel.experiments.results import markdown_table
from onepixel.experiments.table2 import Method
from onepixel.experiments.whole import Whole
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
}
"""Every attack type: the middle of its population's name, and what it is. The first is the one that the papers test."""

HIDING = ("virus-development", "attack-constant-inputs", "attack-signature-loss", "attack-expects-class-means")
"""The attack types that are looked at under every default image."""


@dataclass(frozen=True)
class Job:
    """One detector that is to be fitted under one default image, and all that it is to judge."""

    method: Method
    seed: int
    image: str
    training: Training
    attacks: dict[str, Models]


@dataclass(frozen=True)
class Row:
    """What one detector says of one attack type.

    Attributes
    ----------
    method : Method
    seed : int
        The detector's.
    image, attack : str
        Keys of `IMAGES` and `ATTACKS`.
    models : Models
        The attack's.
    result : Evaluation
        Of those models against the clean ones that were held back.
    """

    method: Method
    seed: int
    image: str
    attack: str
    models: Models
    result: Evaluation


def judge(job: Job) -> list[Evaluation]:
    """Fit a detector and evaluate it on every attack, in their order."""
    data = job.training.labelled(with_stamped=job.method.with_stamped)
    detector = fitted(job.method.parameters or {}, data, job.training.settings, job.seed)
    clean = detector.decision_function(job.training.spare.rows)
    return [against(clean, detector.decision_function(models.rows), detector) for models in job.attacks.values()]


def against(clean: NDArray[np.float64], trojaned: NDArray[np.float64], detector: Detector) -> Evaluation:
    """Evaluate scores of clean and trojaned models at the detector's threshold."""
    labels = np.r_[np.zeros(len(clean), np.int64), np.ones(len(trojaned), np.int64)]
    return evaluate_scores(np.r_[clean, trojaned], labels, detector.threshold_)


def methods(choice: Choice, training: Training, image: str) -> list[Method]:
    """The papers' CNN in both readings and the chosen detector, with stamped negatives too.

    Under default images that are not `MAIN`, the chosen detector alone.
    """
    chosen = Method(f"chosen: {choice.name}", choice.parameters)
    if image not in MAIN:
        return [chosen]
    names = list(LITERAL)
    table = [*(Method(name, LITERAL[name]) for name in dict.fromkeys((names[0], names[-1]))), chosen]
    if training.stamped is not None:
        table.append(Method(f"{chosen.name}, stamped negatives", choice.parameters, True))
    return table


def load_attacks(zoo: Path, prefix: str, image: str, settings: Settings) -> dict[str, Models]:
    """Read the attack populations that a zoo has under one default image.

    Raises
    ------
    UsageError
        If one was signed with other settings than the clean models.
    """
    found: dict[str, Models] = {}
    for attack in attacks_under(image):
        name = f"{prefix}-{attack}{image}"
        if has(zoo, name):
            found[attack] = load_models(zoo, name, settings)[0]
    return found


def attacks_under(image: str) -> Sequence[str]:
    """The attack types that are looked at under a default image."""
    return tuple(ATTACKS) if image in MAIN else HIDING


def missing_populations(zoo: Path, prefix: str) -> list[str]:
    """Everything that these tables could show and a zoo lacks."""
    names = [
        f"{prefix}-{kind}{image}"
        for image in IMAGES
        for kind in (*(("clean", "vaccine") if image else ()), *attacks_under(image))
    ]
    return [name for name in names if not has(zoo, name)]


class Options(Seeded, Chosen, Split, Prefixed):
    """Options of `onepixel experiment attacks`."""

    seeds: Seeds = 3


def jobs_under(image: str, options: Options, zoo: Path, choice: Choice) -> list[Job]:
    """The detectors to be fitted under one default image; none where there is nothing to train on or to judge."""
    prefix, seeds = options.prefix, range(options.seed, options.seed + options.seeds)
    if not all(has(zoo, name) for name in training_names(prefix, image)):
        return []
    training = load_training(zoo, prefix, options.training_clean, image)
    attacks = load_attacks(zoo, prefix, image, training.settings)
    if not attacks:
        return []
    return [
        Job(method, seed, image, training, attacks) for method in methods(choice, training, image) for seed in seeds
    ]


def find(options: Options, laboratory: Laboratory) -> Result[list[Row]]:
    """Judge every attack type that the zoo has."""
    zoo, prefix = laboratory.zoo, options.prefix
    chosen = read_choice(options.choice, prefix)
    jobs = [job for image in IMAGES for job in jobs_under(image, options, zoo, chosen)]
    if not any(job.image == "" for job in jobs):
        raise UsageError(f"{zoo} has no population of an attack on {prefix}.")
    rows: list[Row] = []
    for job, results in zip(jobs, laboratory.each(judge, jobs, "detectors"), strict=True):
        judged = zip(job.attacks.items(), results, strict=True)
        rows += [Row(job.method, job.seed, job.image, attack, models, one) for (attack, models), one in judged]
    return Result(
        rows,
        options.subject,
        CSV_HEAD,
        [csv_line(row) for row in rows],
        as_markdown(prefix, {job.image: job.training for job in jobs}, rows),
        missing=missing_populations(zoo, prefix),
    )


def plan(whole: Whole) -> Iterator[Options]:
    """Where signatures from black are among them."""
    for prefix in whole.from_black():
        yield Options(prefix=prefix, choice=whole.choice(prefix), seeds=whole.effort.seeds)


EXPERIMENT = Experiment(
    "attacks",
    "Attack types that no detector saw, attackers who know onepixel, and other default images.",
    Options,
    find,
    paper="ECCV section 4; ICLR Table 6",
    needs=lambda options: training_names(options.prefix),
    plan=plan,
    folder="attack-types",
    after={"table2": ("prefix",), "sensitivity": ("prefix",), "detectors": ("prefix",)},
)


CSV_HEAD = [
    "method",
    "default_image",
    "attack",
    "seed",
    "models",
    *(
        f"{name}{end}"
        for name in ("attack_success", "clean_accuracy", "detection_rate", "auroc", "found", "false_alarms")
        for end in ("", "_low", "_high")
    ),
]


def csv_line(row: Row) -> list[object]:
    """One row with every interval."""
    result = row.result
    estimates = (
        mean_of(row.models, "attack_success"),
        mean_of(row.models, "clean_accuracy"),
        result.detection_rate,
        result.auroc,
        result.true_positive_rate,
        result.false_positive_rate,
    )
    numbers = [f"{value:.4f}" for estimate in estimates for value in (estimate.value, estimate.low, estimate.high)]
    return [row.method.name, IMAGES[row.image], row.attack, row.seed, len(row.models), *numbers]


def mean_of(models: Models, what: str) -> Estimate:
    """Mean of "attack_success" or "clean_accuracy" over models."""
    return bootstrap_mean(np.array([getattr(record, what) for record in models.records]))


def percent(estimate: Estimate) -> str:
    """A share that lies near 1, with its interval."""
    return f"{estimate.value:.2%} [{estimate.low:.2%}, {estimate.high:.2%}]"


def over_seeds(results: Sequence[Evaluation], of: Callable[[Evaluation], Estimate], digits: str = ".1%") -> str:
    """Mean over detector seeds, and the first seed's interval over models."""
    first = of(results[0])
    mean = np.mean([of(result).value for result in results])
    return f"{mean:{digits}} [{first.low:{digits}}, {first.high:{digits}}]"


def rates(rows: Sequence[Row]) -> list[str]:
    """Cells of a table: detection rate, AUROC, and the share of the attack's models that are called trojaned."""
    results = [row.result for row in rows]
    return [
        over_seeds(results, lambda result: result.detection_rate),
        over_seeds(results, lambda result: result.auroc, ".3f"),
        over_seeds(results, lambda result: result.true_positive_rate),
    ]


def false_alarms(rows: Sequence[Row]) -> str:
    """The share of clean models that are called trojaned."""
    return over_seeds([row.result for row in rows], lambda result: result.false_positive_rate)


RATES = ["detection rate", "AUROC", "found"]
"""The head of the cells that `rates` makes."""


def grouped(rows: Sequence[Row], method: str, image: str) -> dict[str, list[Row]]:
    """A method's rows under one default image by attack, in the table's order."""
    chosen = [row for row in rows if (row.method.name, row.image) == (method, image)]
    groups = {attack: [row for row in chosen if row.attack == attack] for attack in ATTACKS}
    return {attack: group for attack, group in groups.items() if group}


def attack_section(rows: Sequence[Row], method: str, image: str) -> str:
    """One line per attack type, under one default image."""
    groups = grouped(rows, method, image)
    head = ["attack", "models", "attack success", "clean accuracy", *RATES]
    lines = []
    for attack, group in groups.items():
        models = group[0].models
        success, accuracy = (percent(mean_of(models, what)) for what in ("attack_success", "clean_accuracy"))
        lines.append([ATTACKS[attack], len(models), success, accuracy, *rates(group)])
    alarms = false_alarms(next(iter(groups.values())))
    return f"### {IMAGES[image]}: {method}\n\nFalse alarms: {alarms}.\n\n{markdown_table(head, lines)}\n"


def main_section(rows: Sequence[Row], training: Training, image: str) -> str:
    """Every detector and attack type under one default image."""
    names = dict.fromkeys(row.method.name for row in rows if row.image == image)
    sections = "\n".join(attack_section(rows, name, image) for name in names)
    held_back = (
        f"{training.settings.values} intensities per pixel. Trained on {training}; tested against "
        f"{len(training.spare)} clean models."
    )
    return f"## Signatures from {IMAGES[image]}\n\n{held_back}\n\n{sections}"


def image_section(rows: Sequence[Row]) -> str:
    """One line per default image and attack type that hides; empty if all started from the same image."""
    if len({row.image for row in rows}) < 2:
        return ""
    lines = []
    for image, words in IMAGES.items():
        names = [row.method.name for row in rows if row.image == image and row.method.name.startswith("chosen")]
        for attack, group in grouped(rows, names[0], image).items() if names else ():
            if attack in HIDING:
                lines.append([words, names[0], ATTACKS[attack], len(group[0].models), *rates(group)])
                lines[-1].append(false_alarms(group))
    head = ["default image", "detector", "attack", "models", *RATES, "false alarms"]
    return (
        "## The defender's choice of default image\n\nTrained and tested on signatures that start from the same "
        "image. An attack's networks are the same under each. From class means there are fewer intensities per pixel "
        "and fewer training models; where no detector was chosen for an image, it is black's.\n\n"
        f"{markdown_table(head, lines)}\n"
    )


def as_markdown(prefix: str, training: dict[str, Training], rows: list[Row]) -> str:
    """The tables for people."""
    parts = [main_section(rows, training[image], image) for image in MAIN if image in training]
    parts.append(image_section(rows))
    sections = "\n".join(part for part in parts if part)
    return f"""# Attack types, {prefix}

Detectors never saw any of these attacks: they train on clean and vaccine models, which carry random patches that send
one class to one, and on stamped ones only where it says so. Detection rate is balanced accuracy at the threshold fixed
by cross-validation on the training models; "found" is the share of an attack's models that are called trojaned. Means
over {len({row.seed for row in rows})} detector seed(s), in brackets the first seed's 95 % intervals over models
(bootstrap, for "found" and false alarms Clopper-Pearson). Attack success and clean accuracy are means over the models
that count: those that reached their recipe's thresholds, or all where it enforces none. Viruses are of the development
pool; the final pool was not opened.

{sections}"""
