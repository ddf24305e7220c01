"""An audit in one call: a classifier or a model file, a few images, one verdict with an exhibit.

With images the universal detector judges, which needs no networks of the model's own kind; without, a detector that
was fitted on such networks, and only what its guard lets pass.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from onepixel.classifiers import Classifier, to_log_odds
from onepixel.detectors.exhibit import Exhibit, Place
from onepixel.detectors.intensities import sure_images
from onepixel.detectors.judgement import Judgement
from onepixel.detectors.labels_only import answers_with_labels, asked_between, refuse_labels
from onepixel.detectors.load import load_detector
from onepixel.detectors.probability import PRIOR, checked_prior
from onepixel.detectors.verdict import SCOPE, ImagesAsked, Verdict
from onepixel.errors import BudgetError, UndecidedError, UsageError
from onepixel.loading import load_classifier
from onepixel.opening.image_folder import AuditorImages, read_images
from onepixel.printable import one_line
from onepixel.reaches.samples import CONFIDENCE, PER_CLASS, SampleImages, image_array
from onepixel.reaches.search import choose_search

DEFAULT_DETECTOR = "mnist-lenet5"
"""The population detector that judges where no images are given."""

LEAST_CLASSES = 3
"""Usable classes below which there is no verdict: the score compares what one target allows with what others do."""

SHOWN = 3
"""Images of an exhibit."""
TRIED = 12
"""Images that the change is tried on, of which the exhibit shows `SHOWN`."""
SHARE_FOR_IMAGES = 10
"""Of a budget at most a tenth finds out which images the classifier is sure of."""

DOMAIN = "The images are assumed to be of the domain that the model was made for; what it is sure of was taken as true."
CALIBRATION = (
    "The p-value assumes that an innocent vendor's model scores like one of the kinds of clean models that the "
    "detector was calibrated on, the worst of which counts; for a grey model grey ones alone."
)

EXAMPLES_OF_FOLDER = "The images are those that came in the model's own folder; whoever sent the model chose them."


class Judges(Protocol):
    """What judges a classifier by sample images, as `UniversalDetector` does."""

    def judge(
        self,
        classifier: Classifier,
        samples: SampleImages,
        *,
        search: str = "auto",
        budget: int | None = None,
        progress: bool = False,
    ) -> Judgement:
        """Search, score and decide."""


def audit(
    model: Classifier | str | Path,
    images: ArrayLike | AuditorImages | str | Path | None = None,
    labels: ArrayLike | None = None,
    *,
    detector: str | Path | None = None,
    resize: bool = False,
    search: str = "auto",
    engine: str = "auto",
    budget: int | None = None,
    prior: float = PRIOR,
    progress: bool = False,
    **opening: Any,
) -> Verdict:
    """Tell whether a classifier carries a backdoor.

    Parameters
    ----------
    model : Classifier, or path or URL
        What `as_classifier` made, or what `load_classifier` opens.
    images : array of shape (N, C, H, W), or path, optional
        Images of the domain, in [0, 1] or uint8, or a folder or an .npz of them. With images the universal detector
        judges; without, `detector`, from the one-pixel signature alone. A contest's folder brings its own images,
        which are used where neither images nor a detector are named.
    labels : array of shape (N,), optional
        What the images are said to be; only compared with what the classifier says.
    detector : str or path, optional
        Without images: a detector that was shipped, or a file; "mnist-lenet5" unless said. With images: what
        `onepixel detector adapt` wrote; the shipped universal detector unless said.
    resize : bool
        Make images in files fit that have another size.
    search : {"auto", "composed", "gradient"}
        With images: how changes are looked for.
    engine : str
        Without images: the engine of the signature.
    budget : int, optional
        Images that the classifier may be asked about at most, in the whole audit.
    prior : float
        The share of trojaned models that is expected, in (0, 1), for the verdict's probability.
    progress : bool
    **opening
        What `load_classifier` is told about a path or URL, such as `normalize` and `outputs`.

    Returns
    -------
    Verdict
        With an exhibit, where images were given and the decision is "trojaned".

    Raises
    ------
    UsageError
        If there is no such file, or an argument makes no sense.
    UndecidedError
        If the images or the answers cannot be used, or a detector does not know networks like this one.

    Examples
    --------
    >>> import onepixel
    >>> verdict = onepixel.audit("model.onnx", images="photos/", normalize="none")  # doctest: +SKIP
    >>> verdict.decision, verdict.target_class, verdict.place  # doctest: +SKIP
    ('trojaned', 3, (2, 20, 5, 5))
    """
    if isinstance(model, str | Path):
        classifier = load_classifier(model, **opening)
        close = getattr(classifier, "close", None)
        try:
            made = audit(
                classifier, images, labels, detector=detector, resize=resize, search=search, engine=engine,
                budget=budget, prior=prior, progress=progress,
            )  # fmt: skip
        finally:
            if close is not None:
                close()
        said = (one_line(sentence, 400) for sentence in getattr(classifier, "assumptions", ()))
        return replace(made, assumptions=(*made.assumptions, *said))
    if opening:
        raise UsageError(f"{', '.join(opening)}: these tell how a file is opened, and this classifier is open.")
    checked_prior(prior)
    if images is None and detector is None and (examples := getattr(model, "examples", None)) is not None:
        images = read_images(examples, model.input_shape, resize=resize, most=most_images(budget))
        images = replace(images, notes=(*images.notes, EXAMPLES_OF_FOLDER))
    if images is None:
        if resize or search != "auto":
            raise UsageError("--resize and --search go with --images, and there are none.")
        found = load_detector(detector or DEFAULT_DETECTOR)
        return found.audit(model, engine=engine, budget=budget, progress=progress).at_prior(prior)
    judges = None if detector is None else adapted_detector(detector)
    given = _given(images, labels, model, resize, budget)
    made = audit_with_images(model, given, detector=judges, search=search, budget=budget, progress=progress)
    return made.at_prior(prior)


def adapted_detector(detector: str | Path) -> Judges:
    """The universal detector with the calibration in a file that `onepixel detector adapt` wrote.

    Raises
    ------
    UsageError
        If it is no such file but a detector that judges without images.
    DetectorError
        If the file is damaged.
    """
    from onepixel.detectors.universal import UniversalDetector

    if Path(detector).suffix != ".json":
        raise UsageError(
            "With images the universal detector judges, by its own calibration or one that `onepixel detector adapt` "
            "wrote (FILE.json); leave detector out, or leave images out."
        )
    return UniversalDetector.load(detector)


def _given(
    images: ArrayLike | AuditorImages | str | Path,
    labels: ArrayLike | None,
    classifier: Classifier,
    resize: bool,
    budget: int | None,
) -> AuditorImages:
    if isinstance(images, AuditorImages):
        return images
    if isinstance(images, str | Path):
        return read_images(images, classifier.input_shape, resize=resize, most=most_images(budget))
    array = image_array(images, classifier.input_shape)
    if labels is None:
        return AuditorImages(array, offered=len(array))
    values, numbers = np.unique(np.asarray(labels), return_inverse=True)
    if numbers.shape != array.shape[:1]:
        raise UsageError(f"{len(array)} images do not go with labels of shape {np.shape(labels)}.")
    return AuditorImages(array, numbers.astype(np.int64), (), tuple(map(str, values)), len(array))


def most_images(budget: int | None) -> int | None:
    """How many images a budget lets an audit look at; None for as many as are read anyway."""
    return None if budget is None else max(2 * PER_CLASS, budget // SHARE_FOR_IMAGES)


def audit_with_images(
    classifier: Classifier,
    given: AuditorImages,
    *,
    detector: Judges | None = None,
    search: str = "auto",
    budget: int | None = None,
    progress: bool = False,
) -> Verdict:
    """Judge a classifier by an auditor's images, and show some of them if it is called trojaned.

    Parameters
    ----------
    classifier : Classifier
    given : AuditorImages
    detector : Judges, optional
        The shipped universal detector unless said.
    search : {"auto", "composed", "gradient"}
    budget : int, optional
        Images that the classifier may be asked about at most, in the whole audit.
    progress : bool

    Raises
    ------
    UndecidedError
        If the classifier is sure of images of fewer than three classes, or answers with labels only.
    BudgetError
        If the budget does not suffice.
    """
    from onepixel.detectors.universal import UniversalDetector, families_for

    chosen = choose_search(classifier, search)
    reserved = len(given) + 2 * TRIED + asked_between(classifier)
    if budget is not None and budget <= reserved:
        raise BudgetError(
            f"A budget of {budget:,} images does not suffice: finding out which of {len(given)} images the classifier "
            f"is sure of, and an exhibit, take {reserved:,} already."
        )
    found = sure_images(classifier, given, None if budget is None else budget - reserved)
    every, reserved = found.samples, reserved + found.asked
    samples = every.best()
    if len(samples.classes) < LEAST_CLASSES:
        raise UndecidedError(
            f"{classifier.name} is sure only of images of {listed(samples.classes)}; a verdict compares what one "
            f"class allows with what others do, so images of at least three classes are needed."
        )
    judges = UniversalDetector.shipped() if detector is None else detector
    known = getattr(judges, "calibrations", None)
    if known is not None and chosen not in known:  # before a search of minutes, not after it
        raise UndecidedError(
            f"The universal detector is not calibrated yet for the {chosen} search, the one for {classifier.name} "
            "(or that was asked for)."
        )
    left = None if budget is None else budget - reserved
    try:
        if answers_with_labels(classifier, samples):
            refuse_labels(classifier, samples, budget=left, progress=progress)
        judgement = judges.judge(classifier, samples, search=chosen, budget=left, progress=progress)
    except BudgetError as error:
        raise BudgetError(
            f"A budget of {budget:,} images does not suffice for this audit: after {reserved:,} for the images "
            f"themselves, the search has {left:,}. {error}"
        ) from error
    trojaned = judgement.decision == "trojaned"
    exhibit = exhibit_of(classifier, samples, judgement, given) if trojaned else None
    families = tuple(family.name for family in families_for(chosen, *classifier.input_shape[1:]).values())
    probability = getattr(judges, "probability", None)
    return Verdict(
        decision=judgement.decision,
        score=judgement.score,
        threshold=judgement.threshold,
        p_value=judgement.p_value,
        target_class=judgement.target_class,
        class_scores=tuple(judgement.target_scores.get(k, float("-inf")) for k in range(classifier.classes))
        if len(judgement.target_scores) == classifier.classes
        else (),
        pixel=None,
        detector="universal: reach on the auditor's images",
        signature=None,
        assumptions=(
            CALIBRATION,
            SCOPE,
            DOMAIN,
            tested(chosen, families),
            *less_sure(samples),
            *given.notes,
            *found.notes,
        ),
        method="universal",
        name=classifier.name,
        asked=len(given)
        + found.asked
        + asked_between(classifier)
        + judgement.queries
        + (0 if exhibit is None else 2 * exhibit.tried),
        source_classes=tuple(judgement.source_classes),
        place=place_within(judgement.place, classifier),
        exhibit=exhibit,
        probability=None
        if probability is None
        else float(probability(judgement.score, search=chosen, prior=PRIOR, channels=classifier.input_shape[0])),
        prior=None if probability is None else PRIOR,
        search=chosen,
        families=families,
        images=images_asked(every.surest(), given),
    )


def listed(classes: tuple[int, ...]) -> str:
    """Class numbers as words."""
    return f"class{'es' if len(classes) > 1 else ''} {' and '.join(map(str, classes))}"


def tested(search: str, families: tuple[str, ...]) -> str:
    """What was looked for, as a sentence."""
    return f"Tested: {', '.join(families)}, by the {search} search. Other kinds of triggers may have gone unseen."


def less_sure(samples: SampleImages) -> tuple[str, ...]:
    """A sentence about the images that the classifier is less than sure of, where there are any."""
    less = len(samples) - len(samples.surest())
    if not less:
        return ()
    return (
        f"Of {less} of the {len(samples)} images that were used the network is less than {100 * CONFIDENCE:g} % sure, "
        "as it is of too few of their classes.",
    )


def images_asked(sure: SampleImages, given: AuditorImages) -> ImagesAsked:
    """How many images the classifier is sure of, and what it says of each folder."""
    folders = []
    if sure.given is not None:
        for number, folder in enumerate(given.folders):
            said = sure.labels[sure.given == number]
            counts = np.bincount(said) if len(said) else np.zeros(1, dtype=np.int64)
            folders.append((folder, len(said), int(counts.argmax()), int(counts.max())))
    return ImagesAsked(len(given), len(sure), len(sure.classes), tuple(folders))


def exhibit_of(classifier: Classifier, samples: SampleImages, judgement: Judgement, given: AuditorImages) -> Exhibit:
    """Try the change on images that the search did not use, and show those that it drives farthest.

    Raises
    ------
    UndecidedError
        If there is no image of another class than the target.
    """
    target = judgement.target_class
    sources = [label for label in judgement.source_classes if label != target] or list(samples.classes)
    _, fresh = samples.split()
    candidates = [n for n in fresh if samples.labels[n] in sources and samples.labels[n] != target]
    candidates = candidates or [n for n in range(len(samples)) if samples.labels[n] != target]
    if not candidates:
        raise UndecidedError(f"{classifier.name} is sure of no image of another class than {target}.")
    order = _in_turns(np.array(candidates), samples.labels)[:TRIED]
    before = samples.images[order]
    after = judgement.change.apply(before)
    says_before, says_after = distributions(classifier, before), distributions(classifier, after)
    driven = int((says_after.argmax(axis=1) == target).sum())
    best = np.sort(np.argsort(-says_after[:, target], kind="stable")[:SHOWN])
    return Exhibit(
        before=before[best],
        after=after[best],
        says_before=says_before[best],
        says_after=says_after[best],
        target_class=target,
        place=place_within(judgement.place, classifier),
        family=judgement.change.family,
        names=_names(before[best], given),
        tried=len(order),
        driven=driven,
    )


def place_within(place: Place, classifier: Classifier) -> Place | None:
    """A change's place; None where it is the whole image."""
    return None if tuple(place) == (0, 0, *classifier.input_shape[1:]) else place


def _in_turns(numbers: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Images of all classes in turns, so that the first few are of as many classes as there are."""
    turn = np.array([int((labels[numbers[:place]] == labels[number]).sum()) for place, number in enumerate(numbers)])
    ordered: NDArray[np.int64] = numbers[np.lexsort((labels[numbers], turn))]
    return ordered


def distributions(classifier: Classifier, images: NDArray[np.float32]) -> NDArray[np.float64]:
    """The classifier's distributions (N, K) over the classes."""
    placed = torch.as_tensor(images).to(device=classifier.device, dtype=classifier.dtype)
    odds = to_log_odds(classifier(placed), classifier.outputs).double().cpu()
    return torch.sigmoid(odds).numpy()


def _names(images: NDArray[np.float32], given: AuditorImages) -> tuple[str, ...]:
    """What the auditor calls these images; they are found again by their pixels."""
    if not given.names:
        return ()
    known = {image.tobytes(): name for image, name in zip(given.images, given.names, strict=True)}
    return tuple(known.get(image.tobytes(), "an image") for image in images)
