"""What moves the detection rate: groups of trojaned models that differ in one thing, judged by the same detectors.

Development viruses by the size of their triggers and the number of their patterns; the populations of ICLR Table 5 by
placement; populations of their own by poison rate, length of training and contrast. How the number of training models
and what signatures start from move it, `sample_size` and `starts` say.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onepixel.detectors import Evaluation
from onepixel.experiments.attack_types import mean_of
from onepixel.experiments.choices import papers
from onepixel.experiments.declared import Cells, Experiment, Laboratory, Result, columns
from onepixel.experiments.judging import CROSS_ENTROPY, Job, grouped, judge_all, over_seeds, rates
from onepixel.experiments.models import Training, load_training, load_unseen, names_of_test, training_names
from onepixel.experiments.options import Chosen, Prefixed, Seeded, Seeds, Signed, Split
from onepixel.experiments.table5 import PAPER, patches_of, recipe_of
from onepixel.populations import Recipe, open_population
from onepixel.populations.models import Models, has, load_models
from onepixel.populations.names import PopulationName
from onepixel.report.tables import markdown_table
from onepixel.signatures import Settings

VARIANTS = {
    "sensitivity-poison-1000": ("poisoned images", "1,000"),
    "sensitivity-poison-20000": ("poisoned images", "20,000"),
    "sensitivity-epochs-1": ("epochs", "1"),
    "sensitivity-epochs-6": ("epochs", "6"),
    "sensitivity-contrast-25": ("contrast", "25 %"),
    "sensitivity-contrast-50": ("contrast", "50 %"),
}
"""Populations that differ from the development viruses in one line of their recipe, and in enforcing no thresholds: the
end of the name, factor and level."""

PLACEMENTS = ("fixed", "local", "global")


@dataclass(frozen=True)
class Group:
    """Trojaned models that have one thing in common."""

    factor: str
    level: str
    models: Models


@dataclass(frozen=True)
class Row:
    """What one detector says of one group."""

    method: str
    seed: int
    group: Group
    result: Evaluation


def trigger_area(models: Models) -> NDArray[np.float64]:
    """Mean area of each model's patterns, in pixels."""
    return np.array([np.mean([h * w for h, w in record.trigger["sizes"]]) for record in models.records])


def names_of(recipe: Recipe, networks: PopulationName) -> dict[str, list[tuple[str, PopulationName]]]:
    """Populations that groups are made of, by factor: (level, name) each."""
    own = replace(networks, family="table5")
    placed: list[tuple[str, PopulationName]] = [
        (location, own.of(name))
        for location in PLACEMENTS
        for name in PAPER
        if (patches := patches_of(recipe_of("mnist", name))).placement == location and patches.resize_each_image
    ]
    found = {"placement (Table 5)": placed} if recipe.architecture == "lenet5" else {}
    for end, (factor, level) in VARIANTS.items():
        found.setdefault(factor, []).append((level, networks.of(end)))
    return found


def groups(zoo: Path, recipe: Recipe, virus: Models, settings: Settings, networks: PopulationName) -> Iterator[Group]:
    """Yield the groups that a zoo has models for, given its development viruses and their recipe.

    Raises
    ------
    UsageError
        If populations were signed with different settings.
    """
    reference = f"{recipe.attack.poisoned_images:,} poisoned images, {recipe.training.epochs:g} epochs"
    yield Group("development viruses", reference, virus)
    if all("sizes" in record.trigger for record in virus.records):
        yield from by_size(virus)
        yield from by_number(virus)
    for factor, named in names_of(recipe, networks).items():
        there = [(level, load_models(zoo, name, settings)[0]) for level, name in named if has(zoo, name)]
        for level, parts in grouped(there, lambda pair: pair[0]).items():
            yield Group(factor, level, Models.joined(*(models for _, models in parts)))


def by_size(virus: Models) -> Iterator[Group]:
    """Thirds of models by the mean area of their patterns."""
    area = trigger_area(virus)
    bounds = np.quantile(area, [0, 1 / 3, 2 / 3, 1])
    bounds[-1] += 1
    for low, high in itertools.pairwise(bounds):
        chosen = np.flatnonzero((area >= low) & (area < high))
        if len(chosen):
            level = f"{area[chosen].min():.0f} to {area[chosen].max():.0f}"
            yield Group("mean area of a pattern, pixels", level, virus.chosen(chosen))


def by_number(virus: Models) -> Iterator[Group]:
    """Models by how many patterns they have."""
    number = np.array([len(record.trigger["sizes"]) for record in virus.records])
    for count in np.unique(number):
        yield Group("patterns", str(count), virus.chosen(np.flatnonzero(number == count)))


class Options(Seeded, Chosen, Split, Signed, Prefixed):
    """Options of `onepixel experiment sensitivity`."""

    seeds: Seeds = 3


def find(options: Options, laboratory: Laboratory) -> Result[list[Row]]:
    """Judge every group that the zoo has models for."""
    zoo, networks = laboratory.zoo, options.networks
    methods = [*papers(-1), options.chosen()]
    training = replace(load_training(zoo, networks, options.training_clean), stamped=None)
    virus = load_unseen(zoo, networks, "development", training).virus
    recipe = open_population(networks.of("virus-development").folder(zoo)).recipe
    found = {f"{number}": one for number, one in enumerate(groups(zoo, recipe, virus, training.settings, networks))}
    tests = {"clean": training.spare, **{number: group.models for number, group in found.items()}}
    jobs = [Job(method, seed, training, tests) for method in methods for seed in options.numbers]
    rows = [
        Row(one.method.name, one.seed, group, one.judged.evaluation(trojaned=number))
        for one in judge_all(jobs, laboratory, "sensitivity")
        for number, group in found.items()
    ]
    absent = [name for named in names_of(recipe, networks).values() for _, name in named if not has(zoo, name)]
    text = as_markdown(rows, training, options.subject)
    return Result.of(rows, options.subject, map(for_machines, rows), text, missing=absent)


EXPERIMENT = Experiment(
    "sensitivity",
    "What moves the detection rate: trigger size, patterns, placement, poison rate, training, contrast.",
    Options,
    find,
    needs=lambda options: training_names(options.networks) + names_of_test(options.networks, "development"),
    plan=lambda whole: whole.repeated(Options, whole.main),
    provides=("fits",),
    after={"table2": ("prefix", "default_image"), "detectors": ("prefix",)},
)


def for_machines(row: Row) -> Cells:
    """One row for machines."""
    return {
        "method": row.method,
        "seed": row.seed,
        "factor": row.group.factor,
        "level": row.group.level,
        "models": len(row.group.models),
        "attack_success": mean_of(row.group.models, "attack_success"),
        **columns(row.result, "detection_rate", "auroc", "cross_entropy"),
        "found": row.result.true_positive_rate,
    }


TOLD = ("found", "AUROC", "cross-entropy")


def as_markdown(rows: Sequence[Row], training: Training, name: str) -> str:
    """The table for people: a line per group, the detectors side by side."""
    lines = []
    for (factor, level), same in grouped(rows, lambda row: (row.group.factor, row.group.level)).items():
        models = same[0].group.models
        by_method = grouped(same, lambda row: row.method)
        told = [rates([row.result for row in some], TOLD) for some in by_method.values()]
        success = over_seeds([mean_of(models, "attack_success")], ".2%")
        lines.append([factor, level, len(models), success, *itertools.chain(*told)])
    head = ["factor", "level", "models", "attack success"]
    head += [f"{method}: {what}" for method in dict.fromkeys(row.method for row in rows) for what in TOLD]
    return f"""# What moves the detection rate, {name}

Trained on {training}; every group is held against the same {len(training.spare)} clean models, which did not train.
"Found" is the share of a group's models that are called trojaned, at the threshold fixed on the training side. Means
over {len({row.seed for row in rows})} detector seed(s), ± their standard
deviation; in brackets the first seed's 95 % intervals. Development
viruses are those that reached their thresholds, with patterns near one place. Populations that differ in poison rate,
length of training or contrast differ from them in that and in having no thresholds; those of Table 5, random patches
that send zeros to ones and shrink anew for every image, in more, so that they are compared with each other. The final
pool was not opened.

{CROSS_ENTROPY}

{markdown_table(head, lines)}
"""
