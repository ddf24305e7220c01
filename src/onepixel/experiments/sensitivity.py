"""What moves the detection rate: groups of trojaned models that differ in one thing, judged by the same detectors.

Development viruses by the size of their triggers and the number of their patterns; the populations of ICLR Table 5 by
placement; populations of their own by poison rate, length of training and contrast. How the number of training models
and what signatures start from move it, `sample_size` and `starts` say.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onepixel.detectors import Evaluation
from onepixel.experiments.attack_types import Job, judge, mean_of, over_seeds, percent
from onepixel.experiments.candidates import LITERAL
from onepixel.experiments.choices import read_choice
from onepixel.experiments.declared import Experiment, Laboratory, Result
from onepixel.experiments.models import (
    Models,
    Training,
    has,
    load_models,
    load_training,
    load_unseen,
    names_of_test,
    training_names,
)
from onepixel.experiments.options import Chosen, Prefixed, Seeded, Seeds, Signed, Split
from onepixel.experiments.results import markdown_table
from onepixel.experiments.table2 import Method
from onepixel.experiments.table5 import STRATEGIES
from onepixel.experiments.whole import Whole
from onepixel.populations import Recipe, open_population
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


def names_of(recipe: Recipe, prefix: str, ending: str) -> dict[str, list[tuple[str, str]]]:
    """Populations that groups are made of, by factor: (level, name) each."""
    placed: list[tuple[str, str]] = [
        (location, f"{recipe.dataset}-table5-{one.name}{ending}")
        for location in PLACEMENTS
        for one in STRATEGIES
        if one.location == location and one.change_size
    ]
    found = {"placement (Table 5)": placed} if recipe.architecture == "lenet5" else {}
    for end, (factor, level) in VARIANTS.items():
        found.setdefault(factor, []).append((level, f"{prefix}-{end}{ending}"))
    return found


def groups(
    zoo: Path, recipe: Recipe, virus: Models, settings: Settings, prefix: str, ending: str = ""
) -> Iterator[Group]:
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
    for factor, named in names_of(recipe, prefix, ending).items():
        for level in dict.fromkeys(level for level, _ in named):
            there = [one for chosen, one in named if chosen == level and has(zoo, one)]
            if there:
                parts = [load_models(zoo, one, settings)[0] for one in there]
                yield Group(factor, level, Models.joined(*parts))


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
    zoo, prefix, ending = laboratory.zoo, options.prefix, options.ending
    chosen = read_choice(options.choice, prefix)
    training = replace(load_training(zoo, prefix, options.training_clean, ending), stamped=None)
    virus = load_unseen(zoo, prefix, "development", training, ending).virus
    recipe = open_population(zoo / f"{prefix}-virus-development{ending}").recipe
    found = list(groups(zoo, recipe, virus, training.settings, prefix, ending))
    channels = list(LITERAL)[-1]
    methods = (Method(channels, LITERAL[channels]), Method(f"chosen: {chosen.name}", chosen.parameters))
    models = {f"{number}": group.models for number, group in enumerate(found)}
    numbers = range(options.seed, options.seed + options.seeds)
    jobs = [Job(method, number, ending, training, models) for method in methods for number in numbers]
    rows = [
        Row(job.method.name, job.seed, group, result)
        for job, results in zip(jobs, laboratory.each(judge, jobs, "sensitivity"), strict=True)
        for group, result in zip(found, results, strict=True)
    ]
    absent = [name for named in names_of(recipe, prefix, ending).values() for _, name in named if not has(zoo, name)]
    text = as_markdown(rows, training, options.subject)
    return Result(rows, options.subject, CSV_HEAD, [csv_line(row) for row in rows], text, missing=absent)


def plan(whole: Whole) -> Iterator[Options]:
    """From class means where the zoo has them."""
    for prefix, image in whole.main_sides():
        yield Options(prefix=prefix, default_image=image, choice=whole.choice(prefix), seeds=whole.effort.seeds)


EXPERIMENT = Experiment(
    "sensitivity",
    "What moves the detection rate: trigger size, patterns, placement, poison rate, training, contrast.",
    Options,
    find,
    needs=lambda o: [*training_names(o.prefix, o.ending), *names_of_test(o.prefix, "development", o.ending)],
    plan=plan,
    provides=("fits",),
    after={"controls": ("prefix", "default_image"), "detectors": ("prefix",)},
)


CSV_HEAD = ["method", "seed", "factor", "level", "models", "attack_success", "detection_rate", "auroc", "found"]


def csv_line(row: Row) -> list[object]:
    """One row for machines."""
    result = row.result
    numbers = (
        mean_of(row.group.models, "attack_success"),
        result.detection_rate,
        result.auroc,
        result.true_positive_rate,
    )
    about = [row.method, row.seed, row.group.factor, row.group.level, len(row.group.models)]
    return [*about, *(f"{estimate.value:.4f}" for estimate in numbers)]


def as_markdown(rows: list[Row], training: Training, name: str) -> str:
    """The table for people: a line per group, the detectors side by side."""
    methods = list(dict.fromkeys(row.method for row in rows))
    lines = []
    for group in dict.fromkeys((row.group.factor, row.group.level) for row in rows):
        same = [row for row in rows if (row.group.factor, row.group.level) == group]
        models = same[0].group.models
        line: list[object] = [*group, len(models), percent(mean_of(models, "attack_success"))]
        for method in methods:
            results = [row.result for row in same if row.method == method]
            line.append(over_seeds(results, lambda result: result.true_positive_rate))
            line.append(over_seeds(results, lambda result: result.auroc, ".3f"))
        lines.append(line)
    head = ["factor", "level", "models", "attack success"]
    head += [f"{method}: {what}" for method in methods for what in ("found", "AUROC")]
    return f"""# What moves the detection rate, {name}

Trained on {training}; every group is held against the same {len(training.spare)} clean models, which did not train.
"Found" is the share of a group's models that are called trojaned, at the threshold fixed on the training side. Means
over {len({row.seed for row in rows})} detector seed(s); in brackets the first seed's 95 % intervals. Development
viruses are those that reached their thresholds, with patterns near one place. Populations that differ in poison rate,
length of training or contrast differ from them in that and in having no thresholds; those of Table 5, random patches
that send zeros to ones and shrink anew for every image, in more, so that they are compared with each other. The final
pool was not opened.

{markdown_table(head, lines)}
"""
