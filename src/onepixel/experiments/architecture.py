"""Which architecture a clean network has, from its signature alone (ICLR 2020, section 5.1, Tables 1 and 8)."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from onepixel.errors import UsageError
from onepixel.experiments.declared import Experiment, Laboratory, Result
from onepixel.experiments.options import Signed
from onepixel.experiments.telling_apart import (
    OURS,
    PAPER,
    WAYS,
    Asked,
    Groups,
    Told,
    by_question,
    read_groups,
    spread,
    table,
    told_result,
)
from onepixel.experiments.whole import Whole
from onepixel.populations.models import Name, has, missing
from onepixel.populations.names import STARTS, PopulationName, Start
from onepixel.report.tables import markdown_table

ARCHITECTURES = {"lenet5": "LeNet-5", "alexnet": "AlexNet", "resnet8": "ResNet-8", "vgg10": "VGG-10"}
"""Those of the paper, by their name in populations."""

DATASETS = {"mnist": "MNIST", "fashion": "Fashion-MNIST"}

MIXED = "mixed"

TABLE1 = {"MNIST": (98.63, 4.94), "Fashion-MNIST": (97.41, 5.07), MIXED: (96.40, 8.11)}
"""Accuracy in percent and what stands after its "±"; four architectures, 250 networks each and data set."""

TABLE8 = {
    ("LeNet-5", "AlexNet"): (99.56, 1.92),
    ("LeNet-5", "ResNet-8"): (96.71, 6.65),
    ("LeNet-5", "VGG-10"): (99.93, 0.30),
    ("AlexNet", "ResNet-8"): (95.21, 1.49),
    ("AlexNet", "VGG-10"): (96.94, 3.27),
    ("ResNet-8", "VGG-10"): (91.74, 10.96),
}
"""The same for pairs, on MNIST."""

AIM = 0.99
"""What a reader may expect of "uniquely identify"."""


class Options(Asked, Signed):
    """Options of `onepixel experiment architecture`."""

    @property
    def subject(self) -> str:
        """What signatures start from, in a file's name."""
        return f"architecture{networks(self.start).ending}"


def networks(start: Start) -> PopulationName:
    """MNIST's LeNet-5 with signatures from this start, of any kind."""
    return PopulationName("mnist", "lenet5", "", start=start)


def populations(dataset: str, start: Start) -> dict[str, PopulationName]:
    """Clean populations of a data set by architecture."""
    own = replace(networks(start), dataset=dataset)
    return {words: replace(own, family=name).of("clean") for name, words in ARCHITECTURES.items()}


def mixed(parts: Sequence[Groups]) -> dict[str, NDArray[np.void]]:
    """Groups of the same name together; those that are not in every part are left out."""
    shared = [name for name in parts[0] if all(name in part for part in parts)]
    return {name: np.concatenate([part[name] for part in parts]) for name in shared}


def questions(found: Mapping[str, Groups]) -> dict[str, Groups]:
    """Everything that is asked: per data set and mixed which of all architectures, per data set which of two."""
    asked: dict[str, Groups] = {name: groups for name, groups in found.items() if len(groups) > 1}
    if len(found) > 1 and len(together := mixed(list(found.values()))) > 1:
        asked[MIXED] = together
    for name, groups in found.items():
        if len(groups) > 2:
            pairs = itertools.combinations(groups, 2)
            asked |= {f"{name}, {one} or {other}": {one: groups[one], other: groups[other]} for one, other in pairs}
    return asked


def find(options: Options, laboratory: Laboratory) -> Result[list[Told]]:
    """Fit the CNNs and count how often they are right."""
    found: dict[str, Groups] = {}
    absent: list[Name] = []
    for dataset, words in DATASETS.items():
        groups, lacking = read_groups(laboratory.zoo, populations(dataset, options.start), options.networks)
        absent += lacking
        if groups:
            found[words] = groups
    asked = questions(found)
    if not asked:
        raise UsageError(f"It takes two architectures to tell them apart; {missing(laboratory.zoo, absent)}")
    told = options.ask(asked, lambda name: WAYS if name in TABLE1 else (PAPER, OURS), laboratory, "architectures")
    return told_result(told, options.subject, paper_of, as_markdown(options, told), absent)


def starts_of_two(whole: Whole) -> Iterator[Start]:
    """The starts that networks of two architectures or more were signed from, on MNIST."""
    for start in STARTS.values():
        if sum(has(whole.zoo, name) for name in populations("mnist", start).values()) > 1:
            yield start


EXPERIMENT = Experiment(
    "architecture",
    "Which architecture does a clean network have, from its signature alone?",
    Options,
    find,
    plan=lambda whole: (Options(default_image=str(start)) for start in starts_of_two(whole)),
    paper="ICLR Tables 1 and 8",
)


def paper_of(told: Told) -> tuple[float, float] | None:
    """The paper's numbers to this question, where it has any for these architectures."""
    name, _, pair = told.question.partition(", ")
    if pair:
        return TABLE8.get((told.names[0], told.names[1])) if name == "MNIST" else None
    return TABLE1.get(name) if len(told.names) == len(ARCHITECTURES) else None


def verdict(told: Sequence[Told]) -> str:
    """One paragraph: does the claim stand, and what makes it stand?"""
    groups = by_question(told)
    sentences = []
    for question in [name for name in TABLE1 if (name, PAPER) in groups]:
        paper, ours = ((spread(groups[question, way])[0], groups[question, way][0].share) for way in (PAPER, OURS))
        alone = spread(groups[question, f"{OURS}, each standardised"])[0]
        scale = spread(groups[question, "scale of the signature alone"])[0]
        chance = spread(groups[question, f"{OURS}, permuted groups"])[0]
        architectures = len(groups[question, PAPER][0].names)
        if ours[1].high < TABLE1[question][0] / 100:
            word = "falls short of the paper"
        else:
            word = "reaches the aim" if ours[0] >= AIM else "is within the interval of the paper's number"
        sentences.append(
            f"**{question}**, {architectures} architectures: {paper[0]:.1%} under the paper's equation 1 and "
            f"{ours[0]:.1%} from log-odds, which {word} (paper: {TABLE1[question][0]} %). With each signature "
            f"standardised by itself it is {alone:.1%}; from its mean and deviation alone {scale:.1%}; with groups "
            f"dealt out at random {chance:.1%}."
        )
    return " ".join(sentences)


def confusion(told: Told) -> str:
    """Which architecture was taken for which, as a table."""
    counts = np.zeros((len(told.names), len(told.names)), int)
    np.add.at(counts, (told.truth, told.said), 1)
    lines = [[name, *row] for name, row in zip(told.names, counts.tolist(), strict=True)]
    return markdown_table(["is / taken for", *told.names], lines)


def as_markdown(options: Options, told: Sequence[Told]) -> str:
    """The tables for people."""
    groups = by_question(told)
    main, pairs = (
        table([group for (question, _), group in groups.items() if (question in TABLE1) == whole], paper_of)
        for whole in (True, False)
    )
    confused = "\n\n".join(
        f"**{question}**, {OURS}:\n\n{confusion(groups[question, OURS][0])}"
        for question in TABLE1
        if (question, OURS) in groups
    )
    return f"""# Which architecture is it? Signatures from {options.default_image}

ICLR 2020, Tables 1 and 8: "the signature is able to uniquely identify network architectures performing the same task
regardless of the dataset it was trained on", 250 networks per architecture and data set, a vanilla CNN, 80 % of the
networks to train and 20 % to test. What its "±" means, it does not say.

{verdict(told)}

Every network is tested {options.repeats} time(s), by a CNN that did not see it (five parts, anew each time). Accuracy
is the share of networks named rightly, mean ± standard deviation over splits; the interval is exact, over networks, of
the first repetition. Groups weigh the same in the loss; the mean over groups is beside, since cells differ in size.
Chance is what naming the largest group always would reach. "Each standardised": every signature has its own mean taken
off and is divided by its own deviation, so that only its structure is left.

## Table 1: which of all architectures

{main}

{confused}

## Table 8: which of two

{pairs}
"""
