"""`Detector`: fitted on signatures of clean and trojaned classifiers, it scores one signature.

It keeps scikit-learn's conventions: parameters in `__init__`, `fit` returns self, fitted attributes end in `_`.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from onepixel.classifiers import Classifier
from onepixel.detectors.detector_file import FITTED_ARRAYS, write_detector
from onepixel.detectors.deviations import deviations, rises
from onepixel.detectors.ensemble import ensemble_scores, joined, scores_by_reading, standards
from onepixel.detectors.estimator import Estimator
from onepixel.detectors.features import Signatures, common_settings, maps, parse_definitions
from onepixel.detectors.fitting import Fitting
from onepixel.detectors.guard import Guard
from onepixel.detectors.metrics import Evaluation, best_threshold, evaluate_scores
from onepixel.detectors.parameters import check_parameters
from onepixel.detectors.probability import PRIOR, probability
from onepixel.detectors.readings import READINGS, Schedule
from onepixel.detectors.scaling import Maps, found_scaling, scaled
from onepixel.detectors.verdict import SCOPE, TRUST, Verdict, floor_notes
from onepixel.errors import DetectorError, UsageError
from onepixel.signatures import Settings, Signature, describe_default_image, signature
from onepixel.threads import one_thread


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
        `ContextCNN`); "statistics": a support vector machine on simple statistics (ours);
        "prominence": how far one class stands out of the others, for architectures that are not trained on (ours). Or
        any other name in `READINGS`. Several joined by "+" are an ensemble: the mean of their scores, each
        standardised by its cross-validated ones.
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
            fitting = self._fitting()
            by_reading = fitting.held_out_scores(features, targets, groups)
            self.networks_ = fitting.train(features, targets, self.random_state)
        self.offsets_, self.spreads_ = standards(by_reading)
        self.held_out_scores_ = joined(by_reading, self.offsets_, self.spreads_)
        self.clean_scores_ = self.held_out_scores_[targets == 0]
        self.trojaned_scores_ = self.held_out_scores_[targets == 1]
        self.threshold_ = best_threshold(self.clean_scores_, self.trojaned_scores_)
        self.center_, self.scale_ = found_scaling(self.scaling, features, targets == 0)
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
            by_reading = self._fitting().held_out_scores(features, targets, groups)
        return ensemble_scores(by_reading)

    def _checked(self, signatures: Signatures, labels: ArrayLike) -> tuple[NDArray[np.float32], NDArray[Any]]:
        check_parameters(self.get_params())
        targets = np.asarray(labels)
        if targets.shape != (len(signatures),) or set(np.unique(targets)) != {0, 1}:
            raise UsageError("Labels must be 0 (clean) or 1 (trojaned), one per signature, and both must occur.")
        return maps(signatures, self.definition), targets

    @property
    def readings(self) -> list[str]:
        """The parts of `reading`."""
        return self.reading.split("+")

    def _fitting(self) -> Fitting:
        schedule = Schedule(
            self.epochs, self.batch_size, self.learning_rate, self.weight_decay, self.shuffle_classes, self.mirror
        )
        rows = [READINGS[reading] for reading in self.readings]
        return Fitting(rows, self.scaling, schedule, self.members, self.folds, self.random_state)

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
            return joined(scores_by_reading(self.networks_, inputs), self.offsets_, self.spreads_)

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
            reader
            for row, members in zip(self._fitting().rows, self.networks_, strict=True)
            if row.scores_channels
            for reader in members
        ]
        if not by_channel:
            return rises(self._deviations(maps(signatures, self.definition)), parse_definitions(self.definition))
        with torch.inference_mode():
            scores = [reader.channel_scores(torch.as_tensor(inputs)) for reader in by_channel]
        return torch.stack(scores).mean(dim=0).double().numpy()

    def _deviations(self, features: Maps) -> Maps:
        return deviations(features, self.clean_mean_, self.clean_deviation_)

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
        return scaled(self.scaling, features, self.center_, self.scale_)

    def evaluate(self, signatures: Signatures, labels: ArrayLike) -> Evaluation:
        """Detection rate, AUROC, true and false positive rate, cross-entropy on labelled models, with intervals."""
        known = self.clean_scores_, self.trojaned_scores_
        return evaluate_scores(self.decision_function(signatures), np.asarray(labels), self.threshold_, known=known)

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
        share = probability(score, self.clean_scores_, self.trojaned_scores_)
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
            probability=share,
            prior=None if share is None else PRIOR,
            assumptions=(TRUST, SCOPE, *floor_notes(found.settings.outputs, self.settings_.outputs)),
        )

    def describe(self) -> str:
        """Name the detector in one line."""
        return f"{' + '.join(row.title for row in self._fitting().rows)}, {self.definition}"

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
