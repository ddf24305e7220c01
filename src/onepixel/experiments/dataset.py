"""Which data set a clean network was trained on, from its signature alone (ICLR 2020, section 6.1, Table 4)."""

from collections.abc import Iterator, Mapping, Sequence

from onepixel.errors import UsageError
from onepixel.experiments import telling_apart
from onepixel.experiments.architecture import ARCHITECTURES, DATASETS, MIXED, mixed
from onepixel.experiments.declared import Experiment, Laboratory, Result
from onepixel.experiments.telling_apart import OURS, PAPER, WAYS, Asked, Groups, Told, by_question, spread, told_result
from onepixel.experiments.whole import Whole
from onepixel.populations.models import Name, has, missing

TABLE4 = {"LeNet-5": (98.74, 2.85), "ResNet-8": (97.12, 8.09), MIXED: (98.74, 5.09)}
"""Accuracy in percent and what stands after its "±", 500 networks of each."""

IN_PAPER = ("LeNet-5", "ResNet-8")
"""The architectures that the paper has here, and mixes."""

TOGETHER = "all together"


class Options(Asked):
    """Options of `onepixel experiment dataset`."""


def populations(architecture: str) -> dict[str, Name]:
    """Clean populations of an architecture by data set; from black alone, since class means differ by data set."""
    return {words: f"{dataset}-{architecture}-clean" for dataset, words in DATASETS.items()}


def find(options: Options, laboratory: Laboratory) -> Result[list[Told]]:
    """Fit the CNNs and count how often they are right."""
    found: dict[str, Groups] = {}
    absent: list[Name] = []
    for architecture, words in ARCHITECTURES.items():
        groups, lacking = telling_apart.read_groups(laboratory.zoo, populations(architecture), options.networks)
        absent += lacking
        if len(groups) == len(DATASETS):
            found[words] = groups
    if not found:
        raise UsageError(f"It takes networks of two data sets to tell them apart; {missing(laboratory.zoo, absent)}")
    told = options.ask(questions(found), lambda name: WAYS, laboratory, "data sets")
    return told_result(told, "dataset", paper_of, as_markdown(options, told), absent)


def questions(found: Mapping[str, Groups]) -> dict[str, Groups]:
    """Everything that is asked: by architecture, of the paper's mixed as it does, and of all together."""
    asked = dict(found)
    for name, architectures in ((MIXED, IN_PAPER), (TOGETHER, tuple(found))):
        if len(architectures) > 1 and set(architectures) <= found.keys():
            asked[name] = mixed([found[one] for one in architectures])
    return asked


def plan(whole: Whole) -> Iterator[Options]:
    """Where an architecture was trained on two data sets."""
    if any(all(has(whole.zoo, name) for name in populations(one).values()) for one in ARCHITECTURES):
        yield Options()


EXPERIMENT = Experiment(
    "dataset",
    "Which data set was a clean network trained on, from its signature alone?",
    Options,
    find,
    paper="ICLR Table 4",
    plan=plan,
)


def paper_of(told: Told) -> tuple[float, float] | None:
    """The paper's numbers, where it has any."""
    return TABLE4.get(told.question)


def verdict(told: Sequence[Told]) -> str:
    """One paragraph: does the claim stand, and what makes it stand?"""
    groups = by_question(told)
    cells = [
        f"{question} {spread(groups[question, PAPER])[0]:.1%} and {spread(groups[question, OURS])[0]:.1%}"
        for question in dict.fromkeys(one.question for one in told)
    ]
    last = told[-1].question
    alone, scale, base, chance = (
        spread(groups[last, way])[0]
        for way in (
            f"{OURS}, each standardised",
            "scale of the signature alone",
            "log-odds of the default image alone",
            f"{OURS}, permuted groups",
        )
    )
    worst = min(spread(groups[question, OURS])[0] for question, _ in groups)
    word = "The claim stands" if worst >= 0.97 else "The claim does not stand everywhere"
    return (
        f"{word}: under equation 1 and from log-odds, the data set is named rightly for {'; '.join(cells)} of the "
        f"networks. Of {last}, it is {alone:.1%} with each signature standardised by itself, {scale:.1%} from its mean "
        f"and deviation alone, {base:.1%} from what the network says of a black image, without any signature, and "
        f"{chance:.1%} with groups dealt out at random."
    )


def as_markdown(options: Options, told: Sequence[Told]) -> str:
    """The table for people."""
    return f"""# Which data set was it trained on? MNIST or Fashion-MNIST

ICLR 2020, Table 4: "the one-pixel signature is also capable of differentiating models of the same network architecture
trained with different datasets", 500 networks per architecture and data set, a vanilla CNN, 80 % to train, 20 % to
test.

{verdict(told)}

Signatures start from black: class means are other images for either data set and would tell which it is. Every network
is tested {options.repeats} time(s), by a CNN that did not see it (five parts, anew each time). Accuracy is the share of
networks named rightly, mean ± standard deviation over splits; the interval is exact, over networks, of the first
repetition. Groups weigh the same in the loss. Chance is what naming the larger group always would reach. "{MIXED}" is
{" and ".join(IN_PAPER)}, as in the paper.

{telling_apart.table(by_question(told).values(), paper_of)}
"""
