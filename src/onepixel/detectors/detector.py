"""`Detector`: fitted on signatures of clean and trojaned classifiers, it scores one signature.

It keeps scikit-learn's conventions: parameters in `__init__`, `fit` returns self, fitted attributes end in `_`.
"""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import StratifiedKFold
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from onepixel.classifiers import Classifier
from onepixel.classifiers.module import evaluating
from onepixel.detectors.features import Signatures, common_settings, maps, parse_definitions
from onepixel.detectors.metrics import Evaluation, best_threshold, evaluate_scores
from onepixel.detectors.vanilla_cnn import SignatureNetwork
from onepixel.detectors.verdict import SCOPE, TRUST, Verdict
from onepixel.errors import DetectorError, UsageError
from onepixel.files import atomic_path
from onepixel.signatures import Settings, Signature, describe_default_image, signature
from onepixel.threads import one_thread

FORMAT = "onepixel-detector-1"


class Detector(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """The papers' detector: a vanilla CNN on one-pixel signatures (ECCV 2020, section 3.3).

    Parameters
    ----------
    definition : str
        One of `DEFINITIONS`, or several joined by "+", which the network then sees side by side.
    reading : {"instances", "channels", "whole"}
        Each channel by itself, joined by log-mean-exp inside the loss (ours); each channel a training sample, joined
        by the mean (ECCV, section 5); or all channels as one image (the papers' first way).
    shuffle_classes : bool
        Shuffle the class channels of every signature in every batch; changes nothing but for "whole".
    members : int
        Networks, each from another seed, whose mean score counts.
    epochs, batch_size, learning_rate, weight_decay
        Adam, decaying to 0 along a cosine.
    folds : int
        The threshold is the best on scores of models that a fold's network did not see.
    random_state : int
        Seed of everything random.

    Attributes
    ----------
    threshold_ : float
        Scores at or above it are called trojaned; fixed by cross-validation on the training models.
    clean_scores_, trojaned_scores_ : array
        Those cross-validated scores.
    calibration_scores_ : array
        Scores of clean models used for nothing else; empty before `calibrate`.
    settings_ : Settings
        What the training signatures were made with; others are refused.
    default_image_ : array of shape (C, H, W), or None
        Where audits start from; None where the settings say it.
    shape_ : (K, H, W)

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
        shuffle_classes: bool = True,
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
        self.shuffle_classes = shuffle_classes
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
    ) -> "Detector":
        """Fit to signatures of clean (label 0) and trojaned (label 1) classifiers.

        Parameters
        ----------
        signatures : sequence of Signature, or structured array of shape (N,)
        labels : array-like of shape (N,)
        settings : Settings, optional
            What rows of an array were made with; the default settings unless said.
        default_image : float or array-like of shape (C, H, W), optional
            The default image itself, which an audit needs where it is no single intensity.

        Raises
        ------
        UsageError
            If labels or parameters make no sense, or the default image is not the one that the settings name.
        DetectorError
            If the signatures cannot be compared with each other.
        """
        self._check_parameters()
        targets = np.asarray(labels)
        if targets.shape != (len(signatures),) or set(np.unique(targets)) != {0, 1}:
            raise UsageError("Labels must be 0 (clean) or 1 (trojaned), one per signature, and both must occur.")
        features = maps(signatures, self.definition)
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
            held_out = self._cross_validated_scores(features, targets)
            self.networks_ = self._train_networks(features, targets, self.random_state)
        self.clean_scores_, self.trojaned_scores_ = held_out[targets == 0], held_out[targets == 1]
        self.threshold_ = best_threshold(self.clean_scores_, self.trojaned_scores_)
        self.center_, self.scale_ = _scaling(features)
        self.calibration_scores_ = np.empty(0)
        return self

    def _check_parameters(self) -> None:
        parse_definitions(self.definition)
        if self.reading not in ("instances", "channels", "whole"):
            raise UsageError(f"Expected one of instances, channels, whole for reading but got {self.reading!r}.")
        for name, least in (("members", 1), ("epochs", 1), ("batch_size", 1), ("folds", 2)):
            if getattr(self, name) < least:
                raise UsageError(f"{name} must be at least {least} but is {getattr(self, name)}.")

    def _cross_validated_scores(self, features: NDArray[np.float32], targets: NDArray[Any]) -> NDArray[np.float64]:
        folds = min(self.folds, int(np.bincount(targets.astype(int)).min()))
        if folds < 2:
            raise UsageError("A detector needs at least two clean and two trojaned models.")
        scores = np.empty(len(features))
        splitter = StratifiedKFold(folds, shuffle=True, random_state=self.random_state)
        for fold, (seen, unseen) in enumerate(splitter.split(features, targets)):
            center, scale = _scaling(features[seen])
            networks = self._train_networks(features[seen], targets[seen], self.random_state + 1000 * (fold + 1))
            scores[unseen] = _scores(networks, (features[unseen] - center) / scale)
        return scores

    def _train_networks(
        self, features: NDArray[np.float32], targets: NDArray[Any], seed: int
    ) -> list[SignatureNetwork]:
        center, scale = _scaling(features)
        inputs = torch.as_tensor((features - center) / scale)
        wanted = torch.as_tensor(targets.astype(np.float32))
        return [self._train_network(inputs, wanted, seed + 100 * member) for member in range(self.members)]

    def _train_network(self, inputs: Tensor, wanted: Tensor, seed: int) -> SignatureNetwork:
        generator = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = self._new_network(inputs.shape[1], tuple(inputs.shape[2:]))
            optimizer = torch.optim.AdamW(network.parameters(), self.learning_rate, weight_decay=self.weight_decay)
            steps = self.epochs * -(-len(inputs) // self.batch_size)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
            network.train()
            for _ in range(self.epochs):
                for chosen in torch.randperm(len(inputs), generator=generator).split(self.batch_size):
                    batch = inputs[chosen]
                    if self.shuffle_classes:
                        batch = _shuffle_classes(batch, generator)
                    loss = network.loss(batch, wanted[chosen])
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    schedule.step()
        return network.eval()

    def _new_network(self, definitions: int, shape: tuple[int, ...]) -> SignatureNetwork:
        return SignatureNetwork(self.reading, definitions, *shape)  # type: ignore[arg-type]

    def decision_function(self, signatures: Signatures) -> NDArray[np.float64]:
        """Scores (N,) of signatures; higher is more suspicious.

        Raises
        ------
        DetectorError
            If the signatures have another shape or other settings than the training ones.
        """
        check_is_fitted(self)
        return _scores(self.networks_, self._inputs(signatures))

    def predict(self, signatures: Signatures) -> NDArray[np.int64]:
        """1 for signatures called trojaned, else 0."""
        return (self.decision_function(signatures) >= self.threshold_).astype(np.int64)

    def class_scores(self, signatures: Signatures) -> NDArray[np.float64]:
        """Scores (N, K) of the single class channels.

        For "whole", which has none: by how much the score falls when a channel is replaced by the clean mean.
        """
        check_is_fitted(self)
        inputs = self._inputs(signatures)
        if self.reading != "whole":
            with torch.inference_mode():
                tensor = torch.as_tensor(inputs)
                scores = [network.channel_scores(tensor) for network in self.networks_]
                return torch.stack(scores).mean(dim=0).double().numpy()
        replaced = []
        clean = (self.clean_mean_ - self.center_) / self.scale_
        for k in range(self.shape_[0]):
            without = inputs.copy()
            without[:, :, k] = clean[:, k]
            replaced.append(_scores(self.networks_, without))
        return _scores(self.networks_, inputs)[:, None] - np.stack(replaced, axis=1)

    def _inputs(self, signatures: Signatures) -> NDArray[np.float32]:
        features = maps(signatures, self.definition)
        if features.shape[2:] != self.shape_:
            raise DetectorError(f"This detector reads signatures {self.shape_} but got {features.shape[2:]}.")
        settings = common_settings(signatures)
        if settings is not None and settings != self.settings_:
            raise DetectorError(f"This detector reads signatures made with {self.settings_} but got {settings}.")
        return (features - self.center_) / self.scale_

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
        check_is_fitted(self)
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
        check_is_fitted(self)
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
        which that channel lies farthest from the clean training mean, in standard deviations of the clean models
        (a tenth of the channel's mean deviation is added, so that pixels which never vary do not win by nothing).
        """
        score = float(self.decision_function([found])[0])
        per_class = self.class_scores([found])[0]
        target = int(per_class.argmax())
        features = maps([found], self.definition)[0, :, target]
        deviation = self.clean_deviation_[:, target]
        unusual = np.abs(features - self.clean_mean_[:, target]) / (deviation + 0.1 * deviation.mean() + 1e-9)
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
            assumptions=(TRUST, SCOPE),
        )

    def describe(self) -> str:
        """Name the detector in one line."""
        return f"vanilla CNN, {self.reading}, {self.definition}"

    def save(self, path: str | Path, about: dict[str, Any] | None = None) -> None:
        """Write one safetensors file with everything in it; `about` (population, versions) goes to its header."""
        check_is_fitted(self)
        arrays = {name: np.asarray(getattr(self, name)) for name in _ARRAYS}
        for number, network in enumerate(self.networks_):
            arrays |= {f"network{number}.{key}": value.numpy() for key, value in network.state_dict().items()}
        if self.default_image_ is not None:
            arrays["default_image_"] = self.default_image_
        header = {
            "format": FORMAT,
            "parameters": json.dumps(self.get_params()),
            "settings": json.dumps(vars(self.settings_)),
            "shape": json.dumps(self.shape_),
            "threshold": repr(self.threshold_),
            "about": json.dumps(about or {}),
        }
        with atomic_path(path) as temporary:
            save_file({key: np.ascontiguousarray(value) for key, value in arrays.items()}, temporary, metadata=header)


_ARRAYS = (
    "center_",
    "scale_",
    "clean_mean_",
    "clean_deviation_",
    "clean_scores_",
    "trojaned_scores_",
    "calibration_scores_",
)


def load_detector(name_or_path: str | Path) -> Detector:
    """Load a detector that was shipped with onepixel, by name, or one that `Detector.save` wrote, by path.

    Raises
    ------
    UsageError
        If there is no such detector.
    DetectorError
        If the file is damaged or holds no detector.
    """
    shipped = {Path(str(entry)).stem: Path(str(entry)) for entry in files("onepixel.detectors.shipped").iterdir()}
    shipped = {name: path for name, path in shipped.items() if path.suffix == ".safetensors"}
    path = shipped.get(str(name_or_path), Path(name_or_path))
    if not path.is_file():
        raise UsageError(f"There is no detector {name_or_path}; shipped are: {', '.join(sorted(shipped)) or 'none'}.")
    try:
        return _read(path)
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise DetectorError(f"{path} is damaged: it is no complete detector file.") from error


def _read(path: Path) -> Detector:
    with safe_open(path, "np") as file:
        header = file.metadata() or {}
        if header.get("format") != FORMAT:
            raise DetectorError(f"{path} holds no detector.")
        arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
    detector = Detector(**json.loads(header["parameters"]))
    detector.settings_ = Settings(**json.loads(header["settings"]))
    detector.shape_ = tuple(json.loads(header["shape"]))
    detector.threshold_ = float(header["threshold"])
    detector.classes_ = np.array([0, 1])
    for name in _ARRAYS:
        setattr(detector, name, arrays[name])
    detector.default_image_ = arrays.get("default_image_")
    definitions = len(parse_definitions(detector.definition))
    detector.networks_ = []
    for number in range(detector.members):
        network = detector._new_network(definitions, detector.shape_)
        prefix = f"network{number}."
        state = {key.removeprefix(prefix): torch.as_tensor(value) for key, value in arrays.items() if prefix in key}
        network.load_state_dict(state)
        detector.networks_.append(network.eval())
    return detector


def _scaling(features: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation of each definition over all models, channels and pixels, (D, 1, 1, 1)."""
    over = (0, 2, 3, 4)
    center = features.mean(axis=over, dtype=np.float64)[:, None, None, None]
    scale = features.std(axis=over, dtype=np.float64)[:, None, None, None]
    return center.astype(np.float32), np.maximum(scale, 1e-12).astype(np.float32)


def _scores(networks: list[SignatureNetwork], inputs: NDArray[np.float32]) -> NDArray[np.float64]:
    tensor = torch.as_tensor(inputs)
    scores = []
    for network in networks:
        with evaluating(network):
            scores.append(torch.cat([network(part) for part in tensor.split(64)]))
    return torch.stack(scores).mean(dim=0).double().numpy()


def _shuffle_classes(batch: Tensor, generator: torch.Generator) -> Tensor:
    """Give every signature (N, D, K, H, W) of a batch its own order of classes."""
    order = torch.rand(len(batch), batch.shape[2], generator=generator).argsort(dim=1)
    index = order[:, None, :, None, None].expand_as(batch)
    return batch.gather(2, index)


__all__ = ["Detector", "load_detector"]
