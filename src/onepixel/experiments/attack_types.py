"""Attack types that a detector never saw, attackers who know onepixel, and what another default image changes.

Detectors are trained on clean and vaccine models alone. Each attack type is a population of its own; its models stand
against the same held-out clean ones. The papers disagree about all-to-all: ECCV says above 95 %, ICLR says it fails.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onepixel.detectors import Detector, Estimate, Evaluation
from onepixel.detectors.metrics import bootstrap_mean
from onepixel.errors import UsageError
from onepixel.experiments.results import markdown_table, provenance, write_csv
from onepixel.experiments.table2 import CLEAN_TRAINING_SHARE, Models, labels, load_models
from onepixel.files import write_text
from onepixel.progress import progress_bar
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
    "attack-signature-loss": "one to one, patches, signature pulled towards a clean one",
}
"""Every attack type: the end of its population's name, and what it is. The first is the one the papers test."""

HIDING = ("virus-development", "attack-constant-inputs", "attack-signature-loss")
"""The attack types that are looked at under other default images."""

IMAGES = {"black": "black", "white": "white", "mean": "mean", "noise-0": "noise 0", "image-0": "image 0"}
"""Default images: the end of the population's name (nothing for black), and what `population resign` is told."""


@dataclass(frozen=True)
class Method:
    """A way to train a detector.

    Attributes
    ----------
    options : dict
        For `Detector`.
    stamped_negatives : bool
        Whether stamped models are among the negatives it is trained on.
    """

    options: dict[str, Any]
    stamped_negatives: bool = False


METHODS = {
    "multiple instances, `change`": Method({"reading": "instances", "definition": "change"}),
    "multiple instances, `change`, stamped negatives": Method({"reading": "instances", "definition": "change"}, True),
    "whole, `max` (the papers')": Method({"reading": "whole", "definition": "max", "shuffle_classes": False}),
}
"""The first is the one that other default images are looked at with."""


@dataclass(frozen=True)
class Row:
    """One attack type, judged by one detector on one seed.

    Attributes
    ----------
    method, image, attack : str
        Keys of `METHODS`, `IMAGES` and `ATTACKS`.
    seed : int
        The detector's.
    models : Models
        The attack's.
    result : Evaluation
        Of those models against the held-out clean ones.
    """

    method: str
    image: str
    attack: str
    seed: int
    models: Models
    result: Evaluation


@dataclass(frozen=True)
class Missing:
    """A population that is not in the zoo.

    Attributes
    ----------
    population : str
    commands : tuple of str
        What makes it.
    """

    population: str
    commands: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """What was found, and what there was nothing to be found of."""

    rows: list[Row]
    missing: list[Missing]


class Populations:
    """The populations of a zoo by data set, architecture and default image; remembers which are missing."""

    def __init__(self, zoo: Path, prefix: str) -> None:
        self.zoo, self.prefix = zoo, prefix
        self.missing: list[Missing] = []

    def name(self, end: str, image: str) -> str:
        """A population's name."""
        return f"{self.prefix}-{end}" + ("" if image == "black" else f"-{image}")

    def read(self, end: str, image: str = "black") -> tuple[Models, Settings] | None:
        """Models that passed, and their settings; None where the population is missing, which is remembered."""
        name = self.name(end, image)
        if not (self.zoo / name / "recipe.toml").is_file():
            missing = Missing(name, self._commands(end, image))
            if missing not in self.missing:
                self.missing.append(missing)
            return None
        models, settings = load_models(self.zoo, name)
        return (models, settings) if models.records else None

    def _commands(self, end: str, image: str) -> tuple[str, ...]:
        store = f"populations/{self.prefix}-{end}"
        if image != "black":
            return (f'onepixel population resign {store} --default-image "{IMAGES[image]}" --zoo {self.zoo}',)
        folder = "recipes/attacks" if end.startswith("attack-") else "recipes"
        build = f"onepixel population build {folder}/{self.prefix}-{end}.toml --store {store}"
        return build, f"onepixel population export {store} --zoo {self.zoo}"


@dataclass(frozen=True)
class Training:
    """What detectors are trained on under one default image, and the clean models held out.

    Attributes
    ----------
    clean, vaccine, unseen_clean : Models
    stamped : Models or None
    settings : Settings
    """

    clean: Models
    vaccine: Models
    unseen_clean: Models
    stamped: Models | None
    settings: Settings


def read_training(populations: Populations, image: str) -> Training | None:
    """The training populations under a default image; None where clean or vaccine models are missing.

    Raises
    ------
    UsageError
        If there are too few clean models to train and to test.
    """
    clean, vaccine = populations.read("clean", image), populations.read("vaccine", image)
    stamped = populations.read("stamped-vaccine", image) if image == "black" else None
    if clean is None or vaccine is None:
        return None
    border = round(CLEAN_TRAINING_SHARE * len(clean[0].records))
    if border < 2 or border == len(clean[0].records):
        raise UsageError(
            f"{populations.name('clean', image)} has {len(clean[0].records)} models, too few to train and to test."
        )
    return Training(
        clean=clean[0].part(0, border),
        vaccine=vaccine[0],
        unseen_clean=clean[0].part(border),
        stamped=None if stamped is None else stamped[0],
        settings=clean[1],
    )


def fitted(training: Training, method: Method, seed: int, options: dict[str, Any]) -> Detector:
    """Train a detector on clean and vaccine models, and on stamped ones where the method says so."""
    clean = training.clean
    if method.stamped_negatives and training.stamped is not None:
        clean = Models.joined(clean, training.stamped)
    detector = Detector(random_state=seed, **method.options, **options)
    rows = np.concatenate([clean.rows, training.vaccine.rows])
    return detector.fit(rows, labels(clean, training.vaccine), training.settings)


def judged(
    training: Training, name: str, image: str, attacks: dict[str, Models], seed: int, options: dict[str, Any]
) -> Iterator[Row]:
    """One row per attack type, all by one detector."""
    detector = fitted(training, METHODS[name], seed, options)
    for attack, models in attacks.items():
        rows = np.concatenate([training.unseen_clean.rows, models.rows])
        result = detector.evaluate(rows, labels(training.unseen_clean, models))
        yield Row(name, image, attack, seed, models, result)


def read_attacks(populations: Populations, image: str, settings: Settings | None) -> dict[str, Models]:
    """The attack populations that are there under a default image; others are remembered as missing.

    Raises
    ------
    UsageError
        If one was signed with other settings than the clean models.
    """
    found = {}
    for end in ATTACKS if image == "black" else HIDING:
        read = populations.read(end, image)
        if read is None:
            continue
        if settings not in (None, read[1]):
            raise UsageError(f"{populations.name(end, image)} was signed with other settings than the clean models.")
        found[end] = read[0]
    return found


def methods_for(image: str, training: Training) -> list[str]:
    """The methods that can be trained: all from black, where there are stamped models; elsewhere the first."""
    able = [name for name, method in METHODS.items() if training.stamped is not None or not method.stamped_negatives]
    return able if image == "black" else able[:1]


def run(
    output: Path,
    *,
    zoo: Path = Path("zoo"),
    prefix: str = "mnist-lenet5",
    seed: int = 0,
    seeds: int = 3,
    progress: bool = False,
    **options: Any,
) -> Outcome:
    """Judge every attack type that the zoo has, and write tables as Markdown and CSV below `output`.

    Parameters
    ----------
    output : Path
        A folder; made where it does not exist.
    zoo : Path
        Where the populations are; those that are missing are listed with the commands that make them.
    prefix : str
        What their names begin with: data set and architecture.
    seed, seeds : int
        First detector seed, and how many.
    progress : bool
        Show a progress bar on standard error.
    **options
        For every `Detector`, such as its epochs.

    Raises
    ------
    UsageError
        If clean or vaccine models are missing or too few, or there is no attack at all.
    """
    started = time.perf_counter()
    populations = Populations(zoo, prefix)
    trainings = {image: read_training(populations, image) for image in IMAGES}
    attacks = {
        image: read_attacks(populations, image, None if part is None else part.settings)
        for image, part in trainings.items()
    }
    black = trainings["black"]
    if black is None:
        raise UsageError(f"{zoo} needs the populations {prefix}-clean and {prefix}-vaccine.")
    if not attacks["black"]:
        raise UsageError(f"{zoo} has no population of an attack on {prefix}.")
    jobs = [
        (training, name, image, number)
        for image, training in trainings.items()
        if training is not None and attacks[image]
        for name in methods_for(image, training)
        for number in range(seed, seed + seeds)
    ]
    rows: list[Row] = []
    with progress_bar("detectors", len(jobs), "detectors", enabled=progress) as advance:
        for training, name, image, number in jobs:
            rows.extend(judged(training, name, image, attacks[image], number, options))
            advance(1)
    output.mkdir(parents=True, exist_ok=True)
    write_csv(output / f"{prefix}.csv", CSV_HEAD, [csv_line(row) for row in rows])
    command = f"onepixel experiment attacks --from-zoo {zoo} --prefix {prefix} --seed {seed} --seeds {seeds}"
    text = as_markdown(prefix, black, rows, populations.missing)
    write_text(output / f"{prefix}.md", text + "\n" + provenance(command, time.perf_counter() - started))
    return Outcome(rows, populations.missing)


CSV_HEAD = [
    "method",
    "default_image",
    "attack",
    "seed",
    "models",
    "attack_success",
    "clean_accuracy",
    *(
        f"{name}{part}"
        for name in ("detection_rate", "auroc", "found", "false_alarms")
        for part in ("", "_low", "_high")
    ),
]


def csv_line(row: Row) -> list[object]:
    """One row with every interval."""
    result = row.result
    estimates = (result.detection_rate, result.auroc, result.true_positive_rate, result.false_positive_rate)
    numbers = [value for estimate in estimates for value in (estimate.value, estimate.low, estimate.high)]
    success, accuracy = attack_success(row.models), clean_accuracy(row.models)
    return [
        row.method,
        row.image,
        row.attack,
        row.seed,
        len(row.models.records),
        *(f"{value:.4f}" for value in (success.value, accuracy.value, *numbers)),
    ]


def attack_success(models: Models) -> Estimate:
    """Mean attack success over models."""
    return bootstrap_mean(np.array([record.attack_success for record in models.records]))


def clean_accuracy(models: Models) -> Estimate:
    """Mean accuracy on clean test images over models."""
    return bootstrap_mean(np.array([record.clean_accuracy for record in models.records]))


def over_seeds(rows: Sequence[Row], of: Callable[[Evaluation], Estimate], digits: str) -> str:
    """Mean over detector seeds, and the first seed's interval over models."""
    first = of(rows[0].result)
    mean = np.mean([of(row.result).value for row in rows])
    return f"{mean:{digits}} [{first.low:{digits}}, {first.high:{digits}}]"


def attack_table(rows: Sequence[Row], method: str) -> str:
    """One line per attack type, judged by one kind of detector from the black default image."""
    lines = []
    for attack, title in ATTACKS.items():
        group = [row for row in rows if (row.method, row.image, row.attack) == (method, "black", attack)]
        if group:
            models = group[0].models
            lines.append(
                [
                    title,
                    len(models.records),
                    attack_success(models),
                    f"{clean_accuracy(models).value:.2%}",
                    over_seeds(group, lambda result: result.detection_rate, ".1%"),
                    over_seeds(group, lambda result: result.auroc, ".3f"),
                    over_seeds(group, lambda result: result.true_positive_rate, ".1%"),
                ]
            )
    head = ["attack", "models", "attack success", "clean accuracy", "detection rate", "AUROC", "found"]
    return markdown_table(head, lines)


def image_table(rows: Sequence[Row]) -> str:
    """One line per default image and attack type that hides or is its yardstick."""
    lines = []
    for image in IMAGES:
        for attack in HIDING:
            found = [row for row in rows if (row.image, row.attack) == (image, attack)]
            group = [row for row in found if row.method == next(iter(METHODS))]
            if group:
                lines.append(
                    [
                        image.replace("-", " "),
                        ATTACKS[attack],
                        len(group[0].models.records),
                        over_seeds(group, lambda result: result.detection_rate, ".1%"),
                        over_seeds(group, lambda result: result.auroc, ".3f"),
                        over_seeds(group, lambda result: result.true_positive_rate, ".1%"),
                        over_seeds(group, lambda result: result.false_positive_rate, ".1%"),
                    ]
                )
    head = ["default image", "attack", "models", "detection rate", "AUROC", "found", "false alarms"]
    return markdown_table(head, lines)


def as_markdown(prefix: str, training: Training, rows: list[Row], missing: list[Missing]) -> str:
    """The tables for people."""
    parts = []
    for method in dict.fromkeys(row.method for row in rows):
        group = [row for row in rows if row.method == method and row.image == "black"]
        alarms = over_seeds(group, lambda result: result.false_positive_rate, ".1%")
        parts.append(f"## {method}\n\nFalse alarms: {alarms}.\n\n{attack_table(rows, method)}\n")
    if any(row.image != "black" for row in rows):
        method = next(iter(METHODS))
        parts.append(
            f"## Other default images\n\n{method}; trained and tested on signatures that start from the same image. "
            f"The networks are the same in every group.\n\n{image_table(rows)}\n"
        )
    if missing:
        listed = "\n".join(
            f"- {one.population}: " + ", then ".join(f"`{command}`" for command in one.commands) for one in missing
        )
        parts.append(f"## Not measured\n\nThese populations were not in the zoo.\n\n{listed}\n")
    stamped = 0 if training.stamped is None else len(training.stamped.records)
    seeds, sections = len({row.seed for row in rows}), "\n".join(parts)
    return f"""# Attack types, {prefix}

Trained on {len(training.clean.records)} clean and {len(training.vaccine.records)} vaccine models (random patches, one
class to one) and, where it says so, {stamped} stamped ones; none of the attacks below was trained on. Tested against
{len(training.unseen_clean.records)} clean models. Detection rate is balanced accuracy at the threshold fixed by
cross-validation on the training models; "found" is the share of the attack's models that are called trojaned. Means
over {seeds} detector seed(s); in brackets 95 % intervals over models, the first seed's. Attack success is its mean over
the models that count: those that reached their recipe's thresholds, or all of them where it enforces none.

{sections}"""
