"""Detectors to choose from, compared by cross-validation on the vaccine side; no virus has a say.

Each candidate is fitted to clean and stamped models (label 0) against vaccine models (label 1), with several splits,
and scores models that its networks did not see. It must tell vaccine models from clean ones and from stamped ones, so
the lower of these two areas under the curve counts.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from onepixel.detectors import Detector
from onepixel.detectors.baselines import logistic_regression
from onepixel.detectors.ensemble import ensemble_scores
from onepixel.detectors.features import maps
from onepixel.detectors.metrics import fast_auroc
from onepixel.detectors.readings.statistics import channel_statistics, over_classes
from onepixel.experiments.choices import LITERAL, Method, Parameters
from onepixel.experiments.declared import Cells, Experiment, Laboratory, Result, Said
from onepixel.experiments.judging import FOLDS, grouped
from onepixel.experiments.models import Training, load_training, training_names
from onepixel.experiments.options import Prefixed, Seeded, Signed, Split
from onepixel.experiments.whole import Whole
from onepixel.populations.models import Labelled
from onepixel.report.tables import deviation, mean, table_of
from onepixel.threads import one_thread

ALL_LOG_ODDS = "log_odds+log_odds_fall"
EVERYTHING = f"change+{ALL_LOG_ODDS}"

OURS: Parameters = {"definition": EVERYTHING, "mirror": True, "weight_decay": 1e-2}

CANDIDATES: dict[str, Parameters] = LITERAL | {
    "instances, `change`": {"reading": "instances", "definition": "change"},
    "context, usual": OURS | {"reading": "context", "scaling": "clean"},
    "statistics, `change`": {"reading": "statistics", "definition": "change"},
    "statistics, log-odds": {"reading": "statistics", "definition": ALL_LOG_ODDS},
    "statistics, all": {"reading": "statistics", "definition": EVERYTHING},
    "statistics, usual": {"reading": "statistics", "definition": EVERYTHING, "scaling": "clean"},
    "statistics, usual, log-odds": {"reading": "statistics", "definition": ALL_LOG_ODDS, "scaling": "clean"},
    "context and statistics, usual": OURS | {"reading": "context+statistics", "scaling": "clean"},
}
"""What a detector can be set to; the best of them is chosen."""


_WHOLE, *_, _CHANNELS = LITERAL

ACROSS: dict[str, Parameters] = {
    _WHOLE: LITERAL[_WHOLE],
    _CHANNELS: LITERAL[_CHANNELS],
    "statistics, log-odds": {"reading": "statistics", "definition": ALL_LOG_ODDS},
    "statistics, all": {"reading": "statistics", "definition": EVERYTHING},
    "statistics, own scale, log-odds": {"reading": "statistics", "definition": ALL_LOG_ODDS, "scaling": "own"},
    "statistics, own scale, all": {"reading": "statistics", "definition": EVERYTHING, "scaling": "own"},
    "context, own scale": OURS | {"reading": "context", "scaling": "own"},
    "prominence": {"reading": "prominence", "definition": "log_odds"},
}
"""What is tried on architectures that are not trained on: the papers' CNN and ours, on values as they are and on those
that each model is standardised by."""

REFERENCES: dict[str, Callable[[int], Any]] = {
    "logistic regression on statistics": lambda seed: logistic_regression(0.01),
    "gradient boosting on statistics": lambda seed: HistGradientBoostingClassifier(
        max_depth=3, class_weight="balanced", random_state=seed
    ),
    "randomised trees on statistics": lambda seed: ExtraTreesClassifier(
        300, min_samples_leaf=2, class_weight="balanced", random_state=seed
    ),
}
"""scikit-learn's on the same statistics, for comparison; `Detector` has no such option."""


@dataclass(frozen=True)
class Job:
    """One candidate, a reading of an ensemble, or a reference, with one seed."""

    name: str
    parameters: Parameters | None
    data: Labelled
    seed: int


@dataclass(frozen=True)
class Outcome:
    """What one job found: scores (N,) of the models by networks that did not see them, and the seconds it took."""

    name: str
    seed: int
    scores: NDArray[np.float64]
    seconds: float


def cross_validate(job: Job) -> Outcome:
    """Score every model by what was fitted without it."""
    started = time.perf_counter()
    if job.parameters is not None:
        detector = Detector(**job.parameters, random_state=job.seed, folds=FOLDS)
        scores = detector.cross_validated_scores(job.data.rows, job.data.labels)
    else:
        scores = reference_scores(job)
    return Outcome(job.name, job.seed, scores, time.perf_counter() - started)


def parts_of(name: str, parameters: Parameters | None) -> dict[str, Parameters | None]:
    """What has to be fitted for a candidate, by what tells it apart: itself, or each of an ensemble's readings.

    Parameters that a reading shares with another candidate's make it the same, so that it is fitted once.
    """
    if parameters is None:
        return {name: None}
    usual = Detector().get_params()
    readings = (parameters | {"reading": reading} for reading in Detector(**parameters).readings)
    return {json.dumps(usual | one, sort_keys=True): one for one in readings}


def together(outcomes: Sequence[Outcome]) -> Outcome:
    """What an ensemble's readings say together, which costs what they cost."""
    if len(outcomes) == 1:
        return outcomes[0]
    scores = ensemble_scores(np.stack([outcome.scores for outcome in outcomes]))
    return Outcome("ensemble", outcomes[0].seed, scores, sum(outcome.seconds for outcome in outcomes))


def reference_scores(job: Job) -> NDArray[np.float64]:
    """Probabilities (N,) by scikit-learn's estimators on plain statistics, cross-validated with the same folds."""
    features = over_classes(channel_statistics(maps(job.data.rows, EVERYTHING)))
    splitter = StratifiedKFold(FOLDS, shuffle=True, random_state=job.seed)
    model = REFERENCES[job.name](job.seed)
    with one_thread():
        found = cross_val_predict(model, features, job.data.labels, cv=splitter, method="predict_proba")
    return np.asarray(found[:, 1], dtype=np.float64)


@dataclass(frozen=True)
class Line:
    """One candidate's areas under the curve, a value per repeat; `against_stamped` is empty without stamped models."""

    name: str
    parameters: Parameters | None
    against_clean: list[float]
    against_stamped: list[float]
    seconds: float

    @property
    def criterion(self) -> float:
        """The lower of the two mean areas."""
        return float(min(np.mean(values) for values in (self.against_clean, self.against_stamped) if values))


def compare(
    training: Training, candidates: Mapping[str, Parameters], seeds: range, laboratory: Laboratory
) -> list[Line]:
    """Cross-validate candidates and references, the best first."""
    data = training.labelled(with_stamped=True)
    clean, vaccine = len(training.clean), len(training.vaccine)
    named: dict[str, Parameters | None] = {**candidates, **dict.fromkeys(REFERENCES)}
    parts = {name: parts_of(name, parameters) for name, parameters in named.items()}
    single = {name: parameters for pairs in parts.values() for name, parameters in pairs.items()}
    jobs = [Job(name, parameters, data, seed) for seed in seeds for name, parameters in single.items()]
    by_part = grouped(laboratory.each(cross_validate, jobs, "cross-validation"), lambda outcome: outcome.name)
    lines = []
    for name in named:
        repeats = [together(of_seed) for of_seed in zip(*(by_part[part] for part in parts[name]), strict=True)]
        areas = [np.split(outcome.scores, [clean, clean + vaccine]) for outcome in repeats]
        lines.append(
            Line(
                name,
                named[name],
                [fast_auroc(part[0], part[1]) for part in areas],
                [fast_auroc(part[2], part[1]) for part in areas if len(part[2])],
                float(np.mean([outcome.seconds for outcome in repeats])),
            )
        )
    return sorted(lines, key=lambda line: -line.criterion)


def chosen_of(lines: list[Line]) -> Line:
    """The best of those that `Detector` can be set to."""
    return max((line for line in lines if line.parameters is not None), key=lambda line: line.criterion)


class Options(Seeded, Split, Signed, Prefixed):
    """Options of `onepixel experiment detectors`."""

    repeats: Annotated[int, Field(ge=1, description="How many splits, each with other network seeds.")] = 3
    candidates: Annotated[
        dict[str, Parameters] | None,
        Field(description="Parameters of `Detector` by name; `CANDIDATES` unless given."),
        Said(hidden=True),
    ] = None


def find(options: Options, laboratory: Laboratory) -> Result[Method]:
    """Compare candidates on the training side and choose one."""
    training = load_training(laboratory.zoo, options.networks, options.training_clean)
    rivals = CANDIDATES if options.candidates is None else options.candidates
    lines = compare(training, rivals, range(options.seed, options.seed + options.repeats), laboratory)
    chosen = chosen_of(lines)
    records: list[Cells] = [
        {
            "candidate": line.name,
            "chosen": "yes" if line is chosen else "",
            "auroc_clean": mean(line.against_clean),
            "auroc_stamped": mean(line.against_stamped),
            "criterion": line.criterion,
            "seconds": f"{line.seconds:.1f}",
            "parameters": parameters_of(line),
        }
        for line in lines
    ]
    text = as_markdown(training, lines, chosen, options.subject)
    found = Method(chosen.name, chosen.parameters)
    return Result.of(found, options.subject, records, text, said=[f"chosen: {chosen.name}"])


def plan(whole: Whole) -> Iterator[Options]:
    """For every kind of networks, with the clean models that its Table 2 trains on."""
    for networks in whole.main:
        yield from whole.repeated(Options, [networks], training_clean=whole.training_clean(networks))


EXPERIMENT = Experiment(
    "detectors",
    "Choose a detector by cross-validation on clean, stamped and vaccine models; no virus is looked at.",
    Options,
    find,
    needs=lambda options: training_names(options.networks),
    plan=plan,
    provides=("choice",),
)


def parameters_of(line: Line) -> str:
    """What `Detector` is set to, as it is written down; empty for a reference."""
    return "" if line.parameters is None else json.dumps(line.parameters)


def as_markdown(training: Training, lines: list[Line], chosen: Line, prefix: str) -> str:
    """The table for people."""
    table = table_of(
        {
            "detector": f"**{line.name}**" if line is chosen else line.name,
            "AUROC, clean": deviation(line.against_clean),
            "AUROC, stamped": deviation(line.against_stamped),
            "lower one": f"{line.criterion:.3f}",
            "seconds": f"{line.seconds:.0f}",
            "parameters of `Detector`": said and f"`{said}`",
        }
        for line in lines
        for said in [parameters_of(line)]
    )
    return f"""# Which detector: cross-validation on the training side, {prefix}

{training}. Every candidate was fitted to vaccine models (label 1) against clean and stamped ones (label 0) and scored
models that it had not seen ({FOLDS} folds). Area under the curve of vaccine against clean and of vaccine against
stamped models, mean ± standard deviation over {len(chosen.against_clean)} splits, which are seeds of the networks too.
The best by the lower of the two is chosen, among those that `onepixel.Detector` can be set to: **{chosen.name}**.
No virus and none of the clean models that were held back was looked at. The best of several is a little optimistic
here; what it is worth stands in table 2. Seconds are of one cross-validation.

{table}
"""
