"""What signatures start from, and on how many intensities: the same networks, signed in several ways.

Every way has its own clean, vaccine and development virus populations in the zoo, often of different sizes; here each
trains and tests on the slots that all ways have, so that nothing but the signature differs. Fewer intensities cost
fewer queries.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from onepixel.detectors import Evaluation
from onepixel.errors import UsageError
from onepixel.experiments.candidates import LITERAL
from onepixel.experiments.choices import Parameters, read_choice
from onepixel.experiments.declared import Experiment, Laboratory, Result
from onepixel.experiments.judging import RATES, Job, judge, rates
from onepixel.experiments.models import SIGNED, Models, Training, Unseen, has, load_models
from onepixel.experiments.options import Chosen, Prefixed, Seeded, Seeds
from onepixel.experiments.results import markdown_table
from onepixel.experiments.whole import Whole
from onepixel.populations import open_population
from onepixel.populations.names import STARTS
from onepixel.signatures import Settings

KINDS = ("clean", "vaccine", "virus-development")


@dataclass(frozen=True)
class Way:
    """One way to sign: its models, by kind, and what a signature costs.

    Attributes
    ----------
    ending : str
        A key of `SIGNED`.
    models : dict of str to Models
        By the names in `KINDS`.
    settings : Settings
    queries : int
        Images that a model is asked about.
    """

    ending: str
    models: dict[str, Models]
    settings: Settings
    queries: int


@dataclass(frozen=True)
class Row:
    """What one detector, trained on one half of the clean models, says of the other half and of the viruses."""

    method: str
    ending: str
    half: int
    seed: int
    result: Evaluation


def load_way(zoo: Path, prefix: str, ending: str) -> Way:
    """Read what was signed in one way.

    Raises
    ------
    UsageError
        If its populations were signed with different settings.
    """
    models, settings = load_models(zoo, f"{prefix}-clean{ending}")
    others = {kind: load_models(zoo, f"{prefix}-{kind}{ending}", settings)[0] for kind in KINDS[1:]}
    image = np.asarray(open_population(zoo / f"{prefix}-clean{ending}").default_image)
    starts = len(image) if image.ndim == 4 else 1
    height, width = models.rows["high"].shape[-2:]
    return Way(ending, {"clean": models, **others}, settings, starts * settings.values * height * width)


def on_common_slots(ways: list[Way]) -> list[Way]:
    """The same ways, each with the models of the slots, and from the seeds, that all of them have.

    Raises
    ------
    UsageError
        If fewer than four clean or two trojaned networks were signed in every way.
    """
    drawn = {
        kind: set.intersection(*({(record.slot, record.seed) for record in way.models[kind].records} for way in ways))
        for kind in KINDS
    }
    slots = {kind: sorted(slot for slot, _ in drawn[kind]) for kind in KINDS}
    if any(len(slots[kind]) < least for kind, least in zip(KINDS, (4, 2, 2), strict=True)):
        counts = ", ".join(f"{len(slots[kind])} {kind}" for kind in KINDS)
        raise UsageError(f"Too few networks were signed in every way: {counts}.")
    return [replace(way, models={kind: of_slots(way.models[kind], slots[kind]) for kind in KINDS}) for way in ways]


def of_slots(models: Models, slots: list[int]) -> Models:
    """The models of these slots, in their order."""
    numbers = {record.slot: number for number, record in enumerate(models.records)}
    return models.chosen(np.array([numbers[slot] for slot in slots]))


def job_of(way: Way, name: str, parameters: Parameters, half: int, seed: int) -> Job:
    """A detector that trains on every second clean model and all vaccine models, and what it is tested on."""
    clean = way.models["clean"]
    numbers = np.arange(len(clean))
    seen, unseen = (clean.chosen(numbers[numbers % 2 == side]) for side in (half, 1 - half))
    training = Training(seen, way.models["vaccine"], None, unseen, way.settings)
    return Job(name, parameters, training, Unseen(unseen, way.models["virus-development"]), False, seed)


class Options(Seeded, Chosen, Prefixed):
    """Options of `onepixel experiment starts`."""

    seeds: Seeds = 3


def find(options: Options, laboratory: Laboratory) -> Result[list[Row]]:
    """Train and test detectors on every way to sign."""
    zoo, prefix = laboratory.zoo, options.prefix
    endings = [ending for ending in SIGNED if all(has(zoo, f"{prefix}-{kind}{ending}") for kind in KINDS)]
    if len(endings) < 2:
        raise UsageError(f"{zoo} has {prefix} models signed in {len(endings)} way(s); two are needed to compare.")
    ways = on_common_slots([load_way(zoo, prefix, ending) for ending in endings])
    whole = next(iter(LITERAL))
    chosen = read_choice(options.choice, prefix)
    methods: dict[str, Parameters] = {whole: LITERAL[whole], f"chosen: {chosen.name}": chosen.parameters}
    keys = [
        (name, way, half, number)
        for name in methods
        for way in ways
        for half in (0, 1)
        for number in range(options.seed, options.seed + options.seeds)
    ]
    jobs = [job_of(way, name, methods[name], half, number) for name, way, half, number in keys]
    rows = [
        Row(name, way.ending, half, number, judged.evaluation())
        for (name, way, half, number), judged in zip(keys, laboratory.each(judge, jobs, "ways to sign"), strict=True)
    ]
    text = as_markdown(prefix, ways, rows)
    return Result(rows, options.subject, CSV_HEAD, [csv_line(row) for row in rows], text)


def plan(whole: Whole) -> Iterator[Options]:
    """Where signatures from black are among them."""
    for prefix in whole.from_black():
        yield Options(prefix=prefix, choice=whole.choice(prefix), seeds=whole.effort.seeds)


EXPERIMENT = Experiment(
    "starts",
    "What signatures start from, and on how many intensities: the same networks, signed in several ways.",
    Options,
    find,
    plan=plan,
    after={"detectors": ("prefix",)},
)


CSV_HEAD = ["method", "start", "half", "seed", "detection_rate", "auroc", "false_positive_rate"]


def csv_line(row: Row) -> list[object]:
    """One row for machines."""
    numbers = (row.result.detection_rate, row.result.auroc, row.result.false_positive_rate)
    about = [row.method, SIGNED[row.ending], row.half, row.seed]
    return [*about, *(f"{estimate.value:.4f}" for estimate in numbers)]


def as_markdown(prefix: str, ways: list[Way], rows: list[Row]) -> str:
    """The table for people, a line per detector and way."""
    lines = []
    for method in dict.fromkeys(row.method for row in rows):
        for way in ways:
            results = [row.result for row in rows if (row.method, row.ending) == (method, way.ending)]
            lines.append([method, STARTS[way.ending].image, way.settings.values, f"{way.queries:,}", *rates(results)])
    counts = {kind: len(models) for kind, models in ways[0].models.items()}
    head = ["detector", "starts from", "intensities", "queries", *RATES]
    return f"""# What signatures start from, {prefix}

The same networks, signed in several ways: {counts["clean"]} clean, {counts["vaccine"]} vaccine,
{counts["virus-development"]} development virus models. Every detector trains on one half of the clean models and all
vaccine models, and is tested on the other half and the viruses; then the halves change places. Means over both and over
{len({row.seed for row in rows})} detector seed(s), ± their standard deviation; intervals are the first one's, over
models. The detectors are the papers' CNN and the one that cross-validation on the training side chose, which may have
looked at some of these clean models. Queries are images that a model is asked about, as a plain visit of every pixel
does. The final pool was not opened.

{markdown_table(head, lines)}
"""
