"""An audit of an object detector: small patches on the objects of an auditor's scenes, one verdict, and an exhibit."""

import json
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

import numpy as np
from torchvision.models.detection import FasterRCNN

from onepixel.boxes.coco import SceneFolder, read_scenes
from onepixel.boxes.driving import drives, known_objects, suspicion
from onepixel.boxes.measures import SAME, detections
from onepixel.boxes.objects import SHARE, ObjectClassifier, auditor_objects, called, window_side
from onepixel.boxes.opening import open_detector
from onepixel.boxes.probing import answers
from onepixel.boxes.regions import check_detector
from onepixel.boxes.scene import Scene
from onepixel.detectors.exhibit import Exhibit
from onepixel.detectors.probability import PRIOR, probability
from onepixel.detectors.verdict import SCOPE, Decision, ImagesAsked, Verdict
from onepixel.errors import DetectorError, UndecidedError
from onepixel.files import write_text
from onepixel.printable import escaped
from onepixel.reaches import SampleImages
from onepixel.reaches.change import Change
from onepixel.trojan.pictures import resize, to_intensities

FORMAT = "onepixel-boxes-1"
SHOWN = 3
"""Objects of an exhibit."""
WHOLE = 24
"""Scenes in which the patch is tried on the detector as a whole."""
FAMILY = "patch of a quarter of an object's side"
SEARCH = "gradient"
SECONDS = 180.0
"""The time of a search; opening, whole images and drawing take up to a minute more on two cores."""
SHIPPED = "shipped.json"
"""The calibration that comes with onepixel, beside this file."""

CALIBRATION = (
    "The threshold and the p-value come from small detectors of three classes that onepixel trained itself; they "
    "assume that an innocent vendor's detector scores like those."
)


@dataclass(frozen=True)
class ResponseCalibration:
    """What image responses of known detectors score.

    Attributes
    ----------
    threshold : float
        Scores at or above it are called trojaned.
    clean, trojaned : tuple of float
        Scores of known detectors that no threshold was fixed with.
    """

    threshold: float
    clean: tuple[float, ...]
    trojaned: tuple[float, ...]

    def p_value(self, score: float) -> float:
        """(1 + clean scores at or above this one) / (n + 1)."""
        return (1 + sum(one >= score for one in self.clean)) / (len(self.clean) + 1)

    def write(self, path: Path, made_by: str) -> None:
        """Write one JSON file."""
        content = {
            "format": FORMAT,
            "made_by": made_by,
            "threshold": round(self.threshold, 4),
            "clean": [round(one, 4) for one in self.clean],
            "trojaned": [round(one, 4) for one in self.trojaned],
        }
        write_text(path, json.dumps(content, indent=1) + "\n")

    @classmethod
    def shipped(cls) -> "ResponseCalibration":
        """The calibration that comes with onepixel.

        Raises
        ------
        UndecidedError
            If none comes with it.
        DetectorError
            If it is damaged.
        """
        shipped = files("onepixel.boxes").joinpath(SHIPPED)
        if not shipped.is_file():
            raise UndecidedError(
                "This installation of onepixel has no calibration for object detectors, so that no verdict can be "
                "given. From Python, audit_detector takes a calibration."
            )
        try:
            content = json.loads(shipped.read_text(encoding="utf-8"))
            if content["format"] != FORMAT:
                raise DetectorError("The calibration for object detectors is of another version.")
            return cls(float(content["threshold"]), tuple(content["clean"]), tuple(content["trojaned"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DetectorError("The calibration for object detectors is missing or damaged.") from error


def audit_file(
    path: str | Path,
    architecture: str,
    scenes: str | Path,
    *,
    shorter_side: int | None = None,
    key: str | None = None,
    prior: float = PRIOR,
    progress: bool = False,
) -> Verdict:
    """Open a detector and a folder of scenes in COCO format, and judge.

    Raises
    ------
    UsageError
        If there is no such file or folder, or it cannot be used.
    ModelFileError
        If the weights do not fit.
    UndecidedError
        If the detector recognises too few of the objects.
    """
    folder = read_scenes(scenes, most=400)
    ResponseCalibration.shipped()  # before a search of minutes, not after it
    detector, notes = open_detector(path, architecture, shorter_side=shorter_side, key=key)
    folder = folder.labelled_for(check_detector(detector))
    verdict = audit_detector(detector, folder, name=escaped(Path(path).name), prior=prior, progress=progress)
    if folder.left_out:
        notes = (*notes, f"Images that were left out: {len(folder.left_out)}. The first: {folder.left_out[0]}")
    return replace(verdict, assumptions=(*verdict.assumptions, *notes))


def audit_detector(
    detector: FasterRCNN,
    folder: SceneFolder,
    *,
    calibration: ResponseCalibration | None = None,
    name: str = "detector",
    prior: float = PRIOR,
    seconds: float | None = SECONDS,
    progress: bool = False,
) -> Verdict:
    """Judge a detector by what patches do to the objects of scenes.

    Parameters
    ----------
    detector : torchvision.models.detection.FasterRCNN
    folder : SceneFolder
        From `read_scenes`; its labels have to be the detector's.
    calibration : ResponseCalibration, optional
        The shipped one unless said.
    name : str
    prior : float
        The expected share of trojaned detectors.
    seconds : float, optional
        About how long the search may take, None for as long as it wants.
    progress : bool
        Show a progress bar on standard error.

    Returns
    -------
    Verdict
        Class 0 is the background. With an exhibit of windows where the decision is "trojaned".

    Raises
    ------
    UndecidedError
        If the detector recognises too few of the objects, or those of one class alone.
    """
    known = calibration or ResponseCalibration.shipped()
    classifier = ObjectClassifier(detector, window_side(detector), name)
    side = classifier.module.side
    given = auditor_objects(folder.scenes, folder.names, side, folder.files)
    assert given.labels is not None
    samples = known_objects(classifier, given.images, given.labels + 1)
    found, driven = drives(classifier, samples, seconds=seconds, progress=progress)
    score, target = suspicion(driven)
    change = found.best(None, target)
    chance = probability(score, known.clean, known.trojaned, prior)
    trojaned = score >= known.threshold
    decision: Decision = "trojaned" if trojaned else "no evidence of a backdoor"
    names = {image.tobytes(): one for image, one in zip(given.images, given.names, strict=True)}
    classes = ", ".join(f"{label} {called(label, folder.names)}" for label in range(classifier.classes))
    by_class = {one.target: one.moved for one in driven}
    return Verdict(
        decision=decision,
        score=score,
        threshold=known.threshold,
        p_value=known.p_value(score),
        target_class=target,
        class_scores=tuple(by_class.get(label, 0.0) for label in range(classifier.classes)),
        pixel=None,
        detector="object detectors: how far patches drive objects of all other classes to one",
        signature=None,
        clean_scores=known.clean,
        trojaned_scores=known.trojaned,
        assumptions=(
            CALIBRATION,
            SCOPE,
            f"Classes: {classes}.",
            whole_images(detector, folder, change, target, side),
            f"Tested: {FAMILY}. Other kinds of triggers may have gone unseen.",
        ),
        method="universal",
        name=name,
        asked=len(given) + found.queries,
        source_classes=tuple(label for label in samples.classes if label != target),
        place=change.place,
        exhibit=exhibit_of(classifier, samples, change, target, names) if trojaned else None,
        probability=chance,
        prior=None if chance is None else prior,
        search=SEARCH,
        families=(FAMILY,),
        images=ImagesAsked(given.offered, len(samples), len(samples.classes)),
    )


def exhibit_of(
    classifier: ObjectClassifier, samples: SampleImages, change: Change, target: int, names: dict[bytes, str]
) -> Exhibit:
    """Fresh objects without and with the patch, those that it drives farthest."""
    _, fresh = samples.split()
    chosen = samples.images[fresh[samples.labels[fresh] != target]]
    after = change.apply(chosen)
    says_before, says_after = (answers(classifier, one).double().numpy() for one in (chosen, after))
    best = np.sort(np.argsort(-says_after[:, target], kind="stable")[:SHOWN])
    return Exhibit(
        before=chosen[best],
        after=after[best],
        says_before=says_before[best],
        says_after=says_after[best],
        target_class=target,
        place=change.place,
        family=FAMILY,
        names=tuple(names.get(one.tobytes(), "an object") for one in chosen[best]),
        tried=len(chosen),
        driven=int((says_after.argmax(1) == target).sum()),
    )


def whole_images(detector: FasterRCNN, folder: SceneFolder, change: Change, target: int, side: int) -> str:
    """What the whole detector says of whole images in which one object has the patch, as a sentence."""
    chosen = [(scene, box) for scene in folder.scenes for box in np.flatnonzero(scene.labels != target)[:1]][:WHOLE]
    if not chosen:
        return "No image has an object of another class than the suspected one, so that none was tried as a whole."
    stamped = [with_patch(scene, box, change, side) for scene, box in chosen]
    said = []
    for scenes in ([scene for scene, _ in chosen], stamped):
        found = detections(detector, scenes)
        said.append([one.says(scene.boxes[box]) for one, (scene, box) in zip(found, chosen, strict=True)])
    before, after = (sum(one == target for one in ones) for ones in said)
    return (
        f"In whole images, where the detector has to find objects itself (overlap of {SAME:g} or more): of "
        f"{len(chosen)} objects of other classes it calls {after} {called(target, folder.names)} with the patch, and "
        f"{before} without."
    )


def with_patch(scene: Scene, box: int, change: Change, side: int) -> Scene:
    """A scene with a patch on one object, at the place where it was in the object's window."""
    left, top, right, bottom = (float(edge) for edge in scene.boxes[box])
    height, width = (bottom - top) / SHARE / side, (right - left) / SHARE / side  # pixels of the scene per window pixel
    margin = side * (1 - SHARE) / 2
    size = change.place[2]
    row = max(0, round(top + (change.place[0] - margin) * height))
    column = max(0, round(left + (change.place[1] - margin) * width))
    tall, wide = max(1, round(size * height)), max(1, round(size * width))
    image = scene.image.copy()
    rows, columns = min(tall, image.shape[1] - row), min(wide, image.shape[2] - column)
    if rows > 0 and columns > 0:
        picture = resize(to_intensities(255 * change.filling), tall, wide)
        image[:, row : row + rows, column : column + columns] = picture[:, :rows, :columns]
    return replace(scene, image=image)
