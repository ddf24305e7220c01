"""What signatures start from, and on how many intensities: the same networks, signed in several ways.

Every way has its own clean, vaccine and development virus populations in the zoo, often of different sizes; here each
trains and tests on the slots that all ways have, so that nothing but the signature differs. Fewer intensities cost
fewer queries.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from onepixel.errors import UsageError
from onepixel.experiments.choices import Method, papers
from onepixel.experiments.declared import Cells, Experiment, Laboratory, Result, columns
from onepixel.experiments.judging import CROSS_ENTROPY, RATES, Job, Row, grouped, judge_all, rates
from onepixel.experiments.models import Training
from onepixel.experiments.options import Chosen, Prefixed, Seeded, Seeds
from onepixel.populations import open_population
from onepixel.populations.models import Models, has, load_models
from onepixel.populations.names import STARTS, PopulationName, Start
from onepixel.report.tables import markdown_table
from onepixel.signatures import Settings

KINDS = ("clean", "vaccine", "virus-development")


@dataclass(frozen=True)
class Way:
    """One way to sign: its models, by kind, and what a signature costs.

    Attributes
    ----------
    start : Start
    models : dict of str to Models
        By the names in `KINDS`.
    settings : Settings
    queries : int
        Images that a model is asked about.
    """

    start: Start
    models: dict[str, Models]
    settings: Settings
    queries: int


def load_way(zoo: Path, networks: PopulationName) -> Way:
    """Read what was signed in one way.

    Raises
    ------
    UsageError
        If its populations were signed with different settings.
    """
    models, settings = load_models(zoo, networks.of("clean"))
    others = {kind: load_models(zoo, networks.of(kind), settings)[0] for kind in KINDS[1:]}
    image = np.asarray(open_population(networks.of("clean").folder(zoo)).default_image)
    images = len(image) if image.ndim == 4 else 1
    height, width = models.rows["high"].shape[-2:]
    return Way(networks.start, {"clean": models, **others}, settings, images * settings.values * height * width)


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


def job_of(way: Way, method: Method, half: int, seed: int) -> Job:
    """A detector that trains on every second clean model and all vaccine models, and what it is tested on."""
    clean = way.models["clean"]
    numbers = np.arange(len(clean))
    seen, unseen = (clean.chosen(numbers[numbers % 2 == side]) for side in (half, 1 - half))
    training = Training(seen, way.models["vaccine"], None, unseen, way.settings)
    return Job(method, seed, training, {"clean": unseen, "virus": way.models["virus-development"]}, (way.start, half))


class Options(Seeded, Chosen, Prefixed):
    """Options of `onepixel experiment starts`."""

    seeds: Seeds = 3


def find(options: Options, laboratory: Laboratory) -> Result[list[Row]]:
    """Train and test detectors on every way to sign."""
    zoo = laboratory.zoo
    signed = [replace(options.networks, start=start) for start in STARTS.values()]
    there = [networks for networks in signed if has(zoo, *map(networks.of, KINDS))]
    if len(there) < 2:
        raise UsageError(f"{zoo} has {options.prefix} models signed in {len(there)} way(s); two are needed to compare.")
    ways = on_common_slots([load_way(zoo, networks) for networks in there])
    jobs = [
        job_of(way, method, half, seed)
        for method in (*papers(0), options.chosen())
        for way in ways
        for half in (0, 1)
        for seed in options.numbers
    ]
    rows = judge_all(jobs, laboratory, "ways to sign")
    return Result.of(rows, options.subject, map(for_machines, rows), as_markdown(options.prefix, ways, rows))


EXPERIMENT = Experiment(
    "starts",
    "What signatures start from, and on how many intensities: the same networks, signed in several ways.",
    Options,
    find,
    plan=lambda whole: whole.repeated(Options, whole.from_black),
    after={"detectors": ("prefix",)},
)


def for_machines(row: Row) -> Cells:
    """One row for machines."""
    (start, half), result = row.job.about, row.judged.evaluation()
    return {
        "method": row.method.name,
        "start": str(start),
        "half": half,
        "seed": row.seed,
        **columns(result, "detection_rate", "auroc", "cross_entropy", "false_positive_rate"),
    }


def as_markdown(prefix: str, ways: Sequence[Way], rows: Sequence[Row]) -> str:
    """The table for people, a line per detector and way."""
    by_start = {way.start: way for way in ways}
    lines = []
    for (method, start), group in grouped(rows, lambda row: (row.method.name, row.job.about[0])).items():
        way, results = by_start[start], [row.judged.evaluation() for row in group]
        lines.append([method, start.image, way.settings.values, f"{way.queries:,}", *rates(results)])
    counts = {kind: len(models) for kind, models in ways[0].models.items()}
    head = ["detector", "starts from", "intensities", "queries", *RATES]
    return f"""# What signatures start from, {prefix}

The same networks, signed in several ways: {counts["clean"]} clean, {counts["vaccine"]} vaccine,
{counts["virus-development"]} development virus models. Every detector trains on one half of the clean models and all
vaccine models, and is tested on the other half and the viruses; then the halves change places. Means over both and over
{len({row.seed for row in rows})} detector seed(s), ± their standard deviation; intervals are the first one's, over
models. The detectors are the papers' CNN and the one that cross-validation on the training side chose, which may have
looked at some of these clean models; it was chosen once, from class means where there are any, and not anew for every
start. Queries are images that a model is asked about, as a plain visit of every pixel does. The final pool was not
opened.

{CROSS_ENTROPY}

{markdown_table(head, lines)}
"""
