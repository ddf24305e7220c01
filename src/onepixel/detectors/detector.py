"""`Detector`: fitted on signatures of clean and trojaned classifiers, it scores one signature.

It keeps scikit-learn's conventions: parameters in `__init__`, `fit` returns self, fitted attributes end in `_`.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from onepixel.classifiers import Classifier
from onepixel.detectors.detector_file import FITTED_ARRAYS, write_detector
from onepixel.detectors.estimator import Estimator
from onepixel.detectors.features import Signatures, common_settings, maps, parse_definitions
from onepixel.detectors.guard import Guard
from onepixel.detectors.metrics import Evaluation, best_threshold, evaluate_scores
from onepixel.detectors.prominence import Prominence
from onepixel.detectors.readers import (
    METHODS,
    Change,
    Network,
    Reader,
    Schedule,
    mirror,
    scores_by_reading,
    shuffle_classes,
    train_network,
)
from onepixel.detectors.statistics import StatisticsMachine
from onepixel.detectors.verdict import SCOPE, TRUST, Verdict
from onepixel.errors import DetectorError, UsageError
from onepixel.signatures import Settings, Signature, describe_default_image, signature
from onepixel.threads import one_thread

Maps = NDArray[np.float32]
Splits = list[tuple[NDArray[np.intp], NDArray[np.intp]]]

PEAK_PIXELS = 8
"""How many pixels of a channel are looked at where a reading does not score channels."""


class Detector(Estimator):
    """The papers' detector: a vanilla CNN on one-pixel signatures (ECCV 2020, section 3.3).

    Parameters
    ----------
    definition : str
        One of `DEFINITIONS`, or several joined by "+", which the network then sees side by side.
    reading : str
        "instances": each channel by itself, joined by log-mean-exp inside the loss (ours); "channels": each channel a
        training sample, joined by the mean (ECCV, section 5); "whole": all channels as one image (the papers' first
        way); "context": each channel beside the mean and the strongest of the others, anywhere on the image (ours, see
        `ContextCNN`); "statistics": a support vector machine on simple statistics (ours, see `statistics`);
        "prominence": how far one class stands out of the others, for architectures that are not trained on (ours, see
        `prominence`). Several joined by "+" are an ensemble: the mean of their scores, each standardised by its
        cross-validated ones.
    scaling : {"global", "clean", "own"}
        What the network sees: every definition standardised over all pixels, classes and models; or each pixel of each
        class by what is usual there in models of label 0, large deviations counting logarithmically (ours); or every
        model's standardised by itself, since architectures differ in how far a pixel drives them at all (ours). With
        "clean", classes and pixels must mean the same in every model.
    shuffle_classes : bool
        Shuffle the class channels of every signature in every batch; changes nothing but for "whole".
    mirror : bool
        Flip and transpose the images of every batch at random (a transposition only where they are square).
    members : int
        Networks, each from another seed, whose mean score counts.
    epochs, batch_size, learning_rate, weight_decay
        Adam, decaying to 0 along a cosine. Both labels weigh the same in the loss, however many models have them.
    folds : int
        The threshold is the best on scores of models that a fold's network did not see.
    random_state : int
        Seed of everything random.

    Attributes
    ----------
    threshold_ : float
        Scores at or above it are called trojaned; fixed by cross-validation on the training models.
    clean_scores_, trojaned_scores_ : array
        Those cross-validated scores, by label.
    held_out_scores_ : array of shape (N,)
        The same in the order of the training models; not kept in a file.
    calibration_scores_ : array
        Scores of clean models used for nothing else; empty before `calibrate`.
    settings_ : Settings
        What the training signatures were made with; others are refused.
    default_image_ : array of shape (C, H, W) or, of several, (M, C, H, W), or None
        Where audits start from; None where the settings say it.
    shape_ : (K, H, W)
    guard_ : Guard or None
        Lets only signatures like those of the training models be judged; None before `fit_guard`.

    Examples
    --------
    >>> detector = Detector(definition="change", epochs=5).fit(signatures, labels)  # doctest: +SKIP
    >>> detector.audit(classifier).decision  # doctest: +SKIP
    'no evidence of a backdoor'
    """

    def __init__(
        self,
        definition: str = "change",
        reading: str = "instances",
        scaling: str = "global",
        shuffle_classes: bool = True,
        mirror: bool = False,
        members: int = 1,
        epochs: int = 40,
        batch_size: int = 16,
        learning_rate: float = 2e-3,
        weight_decay: float = 1e-3,
        folds: int = 4,
        random_state: int = 0,
    ) -> None:
        self.definition = definition
        self.reading = reading
        self.scaling = scaling
        self.shuffle_classes = shuffle_classes
        self.mirror = mirror
        self.members = members
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.folds = folds
        self.random_state = random_state

    def fit(
        self,
        signatures: Signatures,
        labels: ArrayLike,
        settings: Settings | None = None,
        default_image: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> "Detector":
        """Fit to signatures of clean (label 0) and trojaned (label 1) classifiers.

        Parameters
        ----------
        signatures : sequence of Signature, or structured array of shape (N,)
        labels : array-like of shape (N,)
        settings : Settings, optional
            What rows of an array were made with; the default settings unless said.
        default_image : float or array-like of shape (C, H, W) or (M, C, H, W), optional
            The default image itself, which an audit needs where it is no single intensity.
        groups : array-like of shape (N,), optional
            What each classifier belongs to, its architecture, say. Where given, scores are cross-validated by leaving
            out one group at a time, so that the threshold is one for groups that no network saw.

        Raises
        ------
        UsageError
            If labels, groups or parameters make no sense, or the default image is not the one that the settings name.
        DetectorError
            If the signatures cannot be compared with each other.
        """
        features, targets = self._checked(signatures, labels)
        self.settings_ = settings or common_settings(signatures) or Settings()
        image = None if default_image is None else np.asarray(default_image, dtype=np.float32)
        if image is not None and describe_default_image(image) != self.settings_.default_image:
            raise UsageError("The default image is another than the one that the signatures were made with.")
        self.default_image_ = image if image is not None and image.ndim else None
        self.classes_ = np.array([0, 1])
        self.shape_ = tuple(int(size) for size in features.shape[2:])
        self.clean_mean_ = features[targets == 0].mean(axis=0)
        self.clean_deviation_ = features[targets == 0].std(axis=0)
        with one_thread():
            by_reading = self._held_out_scores(features, targets, groups)
            self.networks_ = self._train_networks(features, targets, self.random_state)
        self.offsets_, self.spreads_ = _standards(by_reading)
        self.held_out_scores_ = _joined(by_reading, self.offsets_, self.spreads_)
        self.clean_scores_ = self.held_out_scores_[targets == 0]
        self.trojaned_scores_ = self.held_out_scores_[targets == 1]
        self.threshold_ = best_threshold(self.clean_scores_, self.trojaned_scores_)
        self.center_, self.scale_ = self._find_scaling(features, targets)
        self.calibration_scores_ = np.empty(0)
        self.guard_: Guard | None = None
        return self

    def fit_guard(self, signatures: Signatures) -> "Detector":
        """Learn what is usual among these signatures, clean and trojaned, so that `judge` refuses others.

        Raises
        ------
        DetectorError
            If the signatures have another shape or other settings than the training ones.
        """
        self.check_is_fitted()
        self._inputs(signatures)
        self.guard_ = Guard.fit(signatures)
        return self

    def cross_validated_scores(
        self, signatures: Signatures, labels: ArrayLike, groups: ArrayLike | None = None
    ) -> NDArray[np.float64]:
        """Scores (N,) of each model by networks that did not see it, as `fit` fixes its threshold from; fits nothing.

        Raises
        ------
        UsageError
            If labels, groups or parameters make no sense.
        DetectorError
            If the signatures cannot be compared with each other.
        """
        features, targets = self._checked(signatures, labels)
        common_settings(signatures)
        with one_thread():
            by_reading = self._held_out_scores(features, targets, groups)
        return ensemble_scores(by_reading)

    def _checked(self, signatures: Signatures, labels: ArrayLike) -> tuple[NDArray[np.float32], NDArray[Any]]:
        self._check_parameters()
        targets = np.asarray(labels)
        if targets.shape != (len(signatures),) or set(np.unique(targets)) != {0, 1}:
            raise UsageError("Labels must be 0 (clean) or 1 (trojaned), one per signature, and both must occur.")
        return maps(signatures, self.definition), targets

    def _check_parameters(self) -> None:
        parse_definitions(self.definition)
        readings = self.readings
        if not set(readings) <= set(METHODS) or len(set(readings)) < len(readings):
            raise UsageError(f"Expected {', '.join(METHODS)}, or several joined by +, for reading: {self.reading!r}.")
        if self.scaling not in ("global", "clean", "own"):
            raise UsageError(f"Expected global, clean or own for scaling but got {self.scaling!r}.")
        for name, least in (("members", 1), ("epochs", 1), ("batch_size", 1), ("folds", 2)):
            if getattr(self, name) < least:
                raise UsageError(f"{name} must be at least {least} but is {getattr(self, name)}.")

    @property
    def readings(self) -> list[str]:
        """The parts of `reading`."""
        return self.reading.split("+")

    def _held_out_scores(
        self, features: NDArray[np.float32], targets: NDArray[Any], groups: ArrayLike | None
    ) -> NDArray[np.float64]:
        """Scores (R, N) by reading, each from networks that did not see the model."""
        scores = np.empty((len(self.readings), len(features)))
        splits = self._random_splits(targets) if groups is None else splits_by_group(targets, np.asarray(groups))
        for fold, (seen, unseen) in enumerate(splits):
            center, scale = self._find_scaling(features[seen], targets[seen])
            networks = self._train_networks(features[seen], targets[seen], self.random_state + 1000 * (fold + 1))
            scores[:, unseen] = scores_by_reading(networks, self._scale(features[unseen], center, scale))
        return scores

    def _random_splits(self, targets: NDArray[Any]) -> Splits:
        folds = min(self.folds, int(np.bincount(targets.astype(int)).min()))
        if folds < 2:
            raise UsageError("A detector needs at least two clean and two trojaned models.")
        from sklearn.model_selection import StratifiedKFold

        splitter = StratifiedKFold(folds, shuffle=True, random_state=self.random_state)
        return list(splitter.split(targets, targets))

    def _train_networks(self, features: NDArray[np.float32], targets: NDArray[Any], seed: int) -> list[list[Reader]]:
        """The members of each reading."""
        inputs = self._scale(features, *self._find_scaling(features, targets))
        return [self._train_members(reading, inputs, targets, seed) for reading in self.readings]

    def _train_members(
        self, reading: str, inputs: NDArray[np.float32], targets: NDArray[Any], seed: int
    ) -> list[Reader]:
        if reading == "statistics":
            return [StatisticsMachine.fit(inputs, targets)]
        if reading == "prominence":
            return [Prominence().eval()]
        tensor, wanted = torch.as_tensor(inputs), torch.as_tensor(targets.astype(np.float32))
        return [self._train_network(reading, tensor, wanted, seed + 100 * member) for member in range(self.members)]

    def _train_network(self, reading: str, inputs: Tensor, wanted: Tensor, seed: int) -> Network:
        schedule = Schedule(self.epochs, self.batch_size, self.learning_rate, self.weight_decay)
        changes: list[Change] = []
        if self.shuffle_classes and reading == "whole":
            changes.append(shuffle_classes)
        if self.mirror:
            changes.append(mirror)
        return train_network(reading, inputs, wanted, schedule, changes, seed)

    def decision_function(self, signatures: Signatures) -> NDArray[np.float64]:
        """Scores (N,) of signatures; higher is more suspicious.

        Raises
        ------
        DetectorError
            If the signatures have another shape or other settings than the training ones.
        """
        self.check_is_fitted()
        return self._score(self._inputs(signatures))

    def _score(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        with one_thread():
            return _joined(scores_by_reading(self.networks_, inputs), self.offsets_, self.spreads_)

    def predict(self, signatures: Signatures) -> NDArray[np.int64]:
        """1 for signatures called trojaned, else 0."""
        return (self.decision_function(signatures) >= self.threshold_).astype(np.int64)

    def class_scores(self, signatures: Signatures) -> NDArray[np.float64]:
        """Scores (N, K) of the single class channels.

        The mean over those readings that look at single channels by themselves; where there is none, by how many
        standard deviations of the clean training models the channel lies above their mean, on average over the eight
        pixels where it does most: a backdoor drives its target class up, in few places.
        """
        self.check_is_fitted()
        inputs = self._inputs(signatures)
        by_channel = [
            network
            for reading, members in zip(self.readings, self.networks_, strict=True)
            if reading != "whole"
            for network in members
            if not isinstance(network, StatisticsMachine)
        ]
        if not by_channel:
            return self._rises(signatures)
        with torch.inference_mode():
            tensor = torch.as_tensor(inputs)
            scores = [network.channel_scores(network.prepare(tensor)) for network in by_channel]
        return torch.stack(scores).mean(dim=0).double().numpy()

    def _rises(self, signatures: Signatures) -> NDArray[np.float64]:
        names = parse_definitions(self.definition)
        rising = names.index("log_odds") if "log_odds" in names else 0
        above = self._deviations(maps(signatures, self.definition))[:, rising]
        return np.sort(above.reshape(*above.shape[:2], -1))[..., -PEAK_PIXELS:].mean(axis=-1, dtype=np.float64)

    def _deviations(self, features: Maps) -> Maps:
        """Features (..., D, K, H, W) in standard deviations of the clean training models from their mean.

        A tenth of the channel's mean deviation is added, so that pixels which never vary do not win by nothing.
        """
        usual = self.clean_deviation_ + 0.1 * self.clean_deviation_.mean(axis=(-2, -1), keepdims=True) + 1e-9
        deviations: Maps = (features - self.clean_mean_) / usual
        return deviations

    def _inputs(self, signatures: Signatures) -> NDArray[np.float32]:
        settings = common_settings(signatures)
        if settings is not None and not self.settings_.comparable(settings):
            raise DetectorError(
                f"This detector reads signatures of {self.settings_}; this one is of {settings}"
                f"{'' if str(settings) != str(self.settings_) else ' (other images)'}."
            )
        if not isinstance(signatures, np.ndarray) and self.settings_.outputs == "probabilities":
            # Log-odds come from either, but those of probabilities end at a floor: what is compared has to have it too.
            signatures = [signature.floored() for signature in signatures]
        features = maps(signatures, self.definition)
        if features.shape[2:] != self.shape_:
            raise DetectorError(f"This detector reads signatures {self.shape_} but got {features.shape[2:]}.")
        return self._scale(features, self.center_, self.scale_)

    def _find_scaling(self, features: NDArray[np.float32], targets: NDArray[Any]) -> tuple[Maps, Maps]:
        return usual_values(features[targets == 0]) if self.scaling == "clean" else _scaling(features)

    def _scale(self, features: NDArray[np.float32], center: Maps, scale: Maps) -> Maps:
        if self.scaling == "own":
            return standardised_alone(features)
        standardised = (features - center) / scale
        return np.arcsinh(standardised) if self.scaling == "clean" else standardised

    def evaluate(self, signatures: Signatures, labels: ArrayLike) -> Evaluation:
        """Detection rate, AUROC, true and false positive rate on labelled models, with intervals."""
        return evaluate_scores(self.decision_function(signatures), np.asarray(labels), self.threshold_)

    def calibrate(self, clean_signatures: Signatures) -> "Detector":
        """Score clean models that are used for nothing else, so that audits can give a p-value."""
        self.calibration_scores_ = np.sort(self.decision_function(clean_signatures))
        return self

    def p_values(self, scores: ArrayLike) -> NDArray[np.float64]:
        """(1 + number of calibration scores at or above each score) / (n + 1).

        Raises
        ------
        DetectorError
            If the detector was not calibrated.
        """
        self.check_is_fitted()
        if not len(self.calibration_scores_):
            raise DetectorError("This detector was not calibrated and gives no p-values.")
        below = np.searchsorted(self.calibration_scores_, np.asarray(scores), side="left")
        return (1 + len(self.calibration_scores_) - below) / (len(self.calibration_scores_) + 1)

    def audit(
        self, classifier: Classifier, *, engine: str = "auto", budget: int | None = None, progress: bool = False
    ) -> Verdict:
        """Compute a classifier's signature as this detector needs it, and judge it.

        Engine, budget and progress are those of `onepixel.signature`.

        Raises
        ------
        DetectorError
            If the classifier has other classes or another input shape than those the detector was trained on.
        UndecidedError
            If the classifier's answers cannot be used.
        """
        self.check_is_fitted()
        expected, found = self.shape_, (classifier.classes, *classifier.input_shape[1:])
        if expected != found:
            described = "{} classes and images of {} x {} pixels".format
            raise DetectorError(f"This detector judges {described(*expected)}; the model has {described(*found)}.")
        made = signature(
            classifier,
            values=self.settings_.values,
            inclusive=self.settings_.inclusive,
            default_image=self._default_image(),
            engine=engine,
            budget=budget,
            progress=progress,
        )
        return self.judge(made)

    def _default_image(self) -> float | NDArray[np.float32]:
        if self.default_image_ is not None:
            return self.default_image_
        kind, _, value = self.settings_.default_image.partition(" ")
        if kind != "constant":
            raise DetectorError("This detector needs a default image that it does not carry.")
        return float(value)

    def judge(self, found: Signature) -> Verdict:
        """Judge one signature.

        The most suspicious class is the one whose channel scores highest; the most suspicious pixel is the one at
        which that channel lies farthest from the clean training mean, in standard deviations of the clean models.

        Raises
        ------
        DetectorError
            If the signature has another shape or other settings than the training ones.
        UndecidedError
            If the detector has a guard, and the signature is not like those of its training models.
        """
        score = float(self.decision_function([found])[0])
        if self.guard_ is not None:
            self.guard_.check([found], found.classifier)
        per_class = self.class_scores([found])[0]
        target = int(per_class.argmax())
        unusual = np.abs(self._deviations(maps([found], self.definition)[0]))[:, target]
        row, column = np.unravel_index(int(unusual.sum(axis=0).argmax()), unusual.shape[1:])
        return Verdict(
            decision="trojaned" if score >= self.threshold_ else "no evidence of a backdoor",
            score=score,
            threshold=self.threshold_,
            p_value=float(self.p_values([score])[0]) if len(self.calibration_scores_) else None,
            target_class=target,
            class_scores=tuple(float(value) for value in per_class),
            pixel=(int(row), int(column)),
            detector=self.describe(),
            signature=found,
            clean_scores=tuple(map(float, self.clean_scores_)),
            trojaned_scores=tuple(map(float, self.trojaned_scores_)),
            assumptions=(TRUST, SCOPE, *floor_notes(found.settings.outputs, self.settings_.outputs)),
        )

    def describe(self) -> str:
        """Name the detector in one line."""
        return f"{' + '.join(METHODS[reading] for reading in self.readings)}, {self.definition}"

    def save(self, path: str | Path, about: dict[str, Any] | None = None) -> None:
        """Write one safetensors file with everything in it; `about` (population, versions) goes to its header."""
        self.check_is_fitted()
        arrays = {name: np.asarray(getattr(self, name)) for name in FITTED_ARRAYS}
        if self.default_image_ is not None:
            arrays["default_image_"] = self.default_image_
        if self.guard_ is not None:
            arrays |= self.guard_.arrays()
        header = {
            "parameters": self.get_params(),
            "settings": vars(self.settings_),
            "shape": self.shape_,
            "threshold": float(self.threshold_),
            "about": about or {},
        }
        write_detector(Path(path), arrays, [network for members in self.networks_ for network in members], header)


def floor_notes(of_model: str, of_detector: str) -> tuple[str, ...]:
    """What a verdict says where the model answers otherwise than those that the detector was trained on."""
    if of_model == of_detector:
        return ()
    return (
        f"The model answers {of_model}, the detector's own models {of_detector}; log-odds come from either, and those "
        "of probabilities end at a floor (p is kept between 1e-7 and 1 - 1e-7), so extremes beyond it are not seen.",
    )


def splits_by_group(targets: NDArray[Any], groups: NDArray[Any]) -> Splits:
    """Numbers of seen and unseen models, for each group left out.

    Raises
    ------
    UsageError
        If there are not as many groups as models, fewer than two, or one without clean or without trojaned models.
    """
    if groups.shape != targets.shape:
        raise UsageError("Groups must be one per signature.")
    names = np.unique(groups)
    if len(names) < 2 or any(set(targets[groups == name]) != {0, 1} for name in names):
        raise UsageError("A detector needs at least two groups, each with clean and trojaned models.")
    from sklearn.model_selection import LeaveOneGroupOut

    return list(LeaveOneGroupOut().split(targets, targets, groups))


def standardised_alone(features: Maps) -> Maps:
    """Each definition of each model (N, D, K, H, W) in its own standard deviations from its own mean."""
    center, scale = _mean_and_deviation(features, (2, 3, 4))
    standardised: Maps = ((features - center) / scale).astype(np.float32)
    return standardised


def usual_values(clean: Maps) -> tuple[Maps, Maps]:
    """Mean and deviation (D, K, H, W) of clean models; a fifth of a channel's mean deviation is added to each pixel's.

    Pixels that hardly ever vary would otherwise shout over the others.
    """
    deviation = clean.std(axis=0)
    return clean.mean(axis=0), deviation + 0.2 * deviation.mean(axis=(-2, -1), keepdims=True) + 1e-6


def _scaling(features: Maps) -> tuple[Maps, Maps]:
    """Mean and standard deviation of each definition over all models, channels and pixels, (D, 1, 1, 1)."""
    center, scale = _mean_and_deviation(features, (0, 2, 3, 4))
    return center[0].astype(np.float32), scale[0].astype(np.float32)


def _mean_and_deviation(features: Maps, over: tuple[int, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both over these axes of features (N, D, K, H, W), which stay with length 1; no deviation is 0."""
    center = features.mean(axis=over, keepdims=True, dtype=np.float64)
    deviation = features.std(axis=over, keepdims=True, dtype=np.float64)
    return center, np.maximum(deviation, 1e-12)


def ensemble_scores(by_reading: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores (N,) of several readings together, from cross-validated ones of each (R, N), as `Detector` joins them."""
    return _joined(by_reading, *_standards(by_reading))


def _standards(by_reading: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What is taken off and divided out of each reading's scores before they are joined; nothing for a single one."""
    if len(by_reading) == 1:
        return np.zeros(1), np.ones(1)
    return by_reading.mean(axis=1), np.maximum(by_reading.std(axis=1), 1e-12)


def _joined(
    by_reading: NDArray[np.float64], offsets: NDArray[np.float64], spreads: NDArray[np.float64]
) -> NDArray[np.float64]:
    joined: NDArray[np.float64] = ((by_reading - offsets[:, None]) / spreads[:, None]).mean(axis=0)
    return joined
