"""Detectors of signatures, trained on the zoo's vaccine side, as rows beside those of compared methods.

The zoo keeps signatures and no weights; recipes build its networks again by seed. The same slot of a population is the
same data, start and attack, but on another processor not the same to the last bit: accuracies differ by up to 0.2 %.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from onepixel.experiments.choices import papers
from onepixel.experiments.declared import Laboratory
from onepixel.experiments.judging import Job, judge_all
from onepixel.experiments.method_records import Judgement, write_judgements
from onepixel.experiments.options import Tested
from onepixel.experiments.reach_records import role_of
from onepixel.experiments.table2 import load_sides
from onepixel.populations.models import Models, load_models
from onepixel.populations.names import BLACK, CLASS_MEANS, PopulationName, Start


class BySignature(NamedTuple):
    """A detector of signatures.

    Attributes
    ----------
    title : str
        What the table calls it.
    start : Start
        What signatures start from.
    literal : bool
        The papers' CNN on the whole signature; else the detector that cross-validation on the training side chose.
    """

    title: str
    start: Start
    literal: bool = False


BY_SIGNATURE = {
    "signature-papers": BySignature("signature, the papers' CNN, black", BLACK, literal=True),
    "signature-black": BySignature("signature, chosen detector, black", BLACK),
    "signature-class-means": BySignature("signature, chosen detector, class means", CLASS_MEANS),
}
"""By what their rows are called."""


def judge_by_signatures(prefix: str, folder: Path, laboratory: Laboratory, names: tuple[str, ...] = ()) -> None:
    """Fit detectors of signatures, and write a row for every final and every attacked network of the zoo.

    Parameters
    ----------
    prefix : str
        Data set and architecture, such as "mnist-lenet5".
    folder : Path
        That of all methods' rows.
    laboratory : Laboratory
        Where the zoo is; an opening of the final pool is written down there.
    names : tuple of str
        Of `BY_SIGNATURE`; all of them unless said.

    Raises
    ------
    UsageError
        If a population of the training side or of the final pool is missing.
    """
    for name in names or BY_SIGNATURE:
        for population, judgements in judged(prefix, name, laboratory):
            write_judgements(folder / name / f"{population}.csv", judgements)


def judged(prefix: str, name: str, laboratory: Laboratory) -> Iterator[tuple[str, list[Judgement]]]:
    """What one detector says of every population that it did not train on; scores count from its threshold on."""
    way = BY_SIGNATURE[name]
    options = Tested(prefix=prefix, default_image=str(way.start), pool="final", seeds=1)
    method = papers(0)[0] if way.literal else options.chosen()
    training, unseen = load_sides(options, laboratory, [method.name])
    tests = {"clean-final": unseen.clean, "virus-final": unseen.virus}
    tests |= attacked(laboratory.zoo, options.networks)
    (row,) = judge_all([Job(method, options.seed, training, tests)], laboratory, "detectors")
    for kind, models in tests.items():
        scores = row.judged.of(kind) - row.judged.threshold
        yield (
            f"{prefix}-{kind}",
            [
                judgement(f"{prefix}-{kind}", record.slot, kind, record.target_of, float(score))
                for record, score in zip(models.records, scores, strict=True)
            ],
        )


def attacked(zoo: Path, networks: PopulationName) -> dict[str, Models]:
    """Populations of other types of attack in the zoo, by what their names say."""
    found = {}
    for path in sorted(zoo.glob(f"{networks.dataset}-{networks.family}-attack-*")):
        name = PopulationName.parse(path.name)
        if name.start == networks.start and name.kind.startswith("attack-"):
            found[name.kind] = load_models(zoo, name)[0]
    return found


def judgement(population: str, slot: int, kind: str, target_of: list[int], score: float) -> Judgement:
    """One network's row; a signature takes no images and names no target, and what it cost is not measured here."""
    role = role_of(kind.split("-")[0])
    targets = sorted({target for source, target in enumerate(target_of) if source != target})
    return Judgement(population, slot, role, tuple(targets), score, score >= 0, None, float("nan"), 0)
