"""The whole pipeline in minutes, on scikit-learn's 8 x 8 digits.

Clean and vaccine-trojaned networks train a detector; clean and virus-trojaned networks that it never saw are audited,
and stamped controls show how much of what it sees is the stamping alone. The same networks are then judged by a handful
of real digits: how far they can be driven, against what the training networks allow. That judges better here, so the
last word is its verdict, which carries an exhibit. The attack is all-to-one with a fixed trigger
of 2 x 2 pixels, 6 % of an 8 x 8 image and so above the papers' 3 %: stated exceptions, for a demonstration of minutes.
Attack, definition and reading were chosen after looking at viruses of the same (development) pool, with one source
class AUROC was 0.66 to 0.71: the demonstration shows the way through, it is no evidence.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from onepixel.classifiers import Classifier, as_classifier
from onepixel.datasets import load_dataset
from onepixel.detectors import Detector
from onepixel.detectors.auditing import audit_with_images
from onepixel.detectors.exhibit import sentences
from onepixel.detectors.metrics import Evaluation, evaluate_scores, share_of
from onepixel.detectors.training_sets import about, labelled
from onepixel.detectors.universal import UniversalDetector
from onepixel.detectors.universal_calibration import Calibration, write_calibrations
from onepixel.detectors.verdict import Verdict
from onepixel.experiments.leaving_out import calibrated
from onepixel.experiments.reach_records import Network, measure_network
from onepixel.opening.image_folder import AuditorImages
from onepixel.parallel import in_processes
from onepixel.populations import (
    LocalExecutor,
    Recipe,
    SignatureRecipe,
    Store,
    Thresholds,
    TrainingRecipe,
    build,
    passed,
)
from onepixel.reaches.samples import image_array
from onepixel.report import words
from onepixel.trojan import AttackRecipe, Role, TriggerRecipe

MODELS = {"clean": 40, "vaccine": 36, "stamped": 10, "clean-unseen": 39, "virus": 20}
ROLES: dict[str, Role] = {"vaccine": "trojaned", "virus": "trojaned", "stamped": "stamped"}

IMAGES = 120
"""Test digits, the first ones, that an audit is given; it uses up to eight of each class."""

SEARCH = "composed"
"""Queries only, a second a network; the gradient takes three times as long."""

VACCINES = 12
"""Vaccine networks that are measured; they only say how likely a score makes a backdoor."""


def recipe(name: str) -> Recipe:
    """One of the demo's populations."""
    return Recipe(
        name=f"digits-{name}",
        role=ROLES.get(name, "clean"),
        dataset="digits",
        architecture="digits_cnn",
        models=MODELS[name],
        seed=int(name == "clean-unseen"),
        training=TrainingRecipe(epochs=12, batch_size=64, learning_rate=1.5e-2),
        attack=AttackRecipe(kind="all_to_one", poisoned_images=200),
        trigger=TriggerRecipe(
            source="photographs" if name == "virus" else "random",
            patterns=(1, 1),
            height=(2, 2),
            width=(2, 2),
            largest_area=0.0625,
            placement="fixed",
        ),
        signature=SignatureRecipe(values=32),
        thresholds=Thresholds(clean_accuracy=0.96, attack_success=0.95),
    )


def run(output: Path, *, workers: int | None = None, say: Callable[[str], None] = print) -> Detector:
    """Build the populations, train and measure a detector, and write detector, report and picture below `output`."""
    stores: dict[str, Store] = {}
    for name in MODELS:
        say(f"Building {MODELS[name]} {name} networks ...")
        stores[name] = build(recipe(name), output / "populations" / name, executor=LocalExecutor(workers))
    folders = {name: store.folder for name, store in stores.items()}

    training = labelled([folders["clean"]], [folders["vaccine"]])
    say(f"Training a detector on {training} ...")
    detector = Detector(definition="log_odds", reading="channels")
    detector.fit(training.rows, training.labels, training.settings)
    detector.save(output / "detector.safetensors", about(training))

    clean, calibration = np.split(passed(stores["clean-unseen"])[0], [MODELS["virus"]])
    detector.calibrate(calibration)
    virus = passed(stores["virus"])[0]
    labels = np.r_[np.zeros(len(clean), np.int64), np.ones(len(virus), np.int64)]
    result = detector.evaluate(np.concatenate([clean, virus]), labels)
    say(f"\nOn {len(clean)} clean and {len(virus)} trojaned models that the detector never saw, 95 % intervals")
    say("(their triggers are crops of photographs, those it was trained on random patches):")
    say_rates(result, detector.predict(passed(stores["stamped"])[0]).tolist(), say)

    say(f"\nMeasuring how far {IMAGES} real digits can be driven ...")
    calibration_of_reach, measured = measure(stores, MODELS["virus"], workers)
    write_calibrations(output / "universal.json", {SEARCH: calibration_of_reach}, {"networks": "the demo's own"})
    say("The same models judged by these digits; threshold fixed on the training networks:")
    say_rates(*judged(calibration_of_reach, measured), say)

    classifier, target = suspect(stores["virus"])
    say(f"\nAudit of a {classifier.name} (its backdoor sends every class to {target}):")
    by_signature = detector.audit(classifier)
    by_signature.report(output / "signature.html")
    by_signature.picture(output / "signature.png")
    say(f"  by its signature alone   {in_words(by_signature)}")
    say(f"                           {output / 'signature.html'}, {output / 'signature.png'}")
    last_word(classifier, calibration_of_reach, output, say)
    return detector


def suspect(store: Store) -> tuple[Classifier, int]:
    """The first trojaned network that passed, and its backdoor's target."""
    record = passed(store)[1][0]
    name = f"virus-trojaned digits network {record.slot}"
    shape = load_dataset("digits").input_shape
    return as_classifier(store.module(record.slot), input_shape=shape, name=name), record.target_of[0]


def last_word(classifier: Classifier, calibration: Calibration, output: Path, say: Callable[[str], None]) -> Verdict:
    """Audit with real digits, write report and picture, and print the verdict with its exhibit."""
    verdict = audit_with_images(classifier, handful(), detector=UniversalDetector({SEARCH: calibration}), search=SEARCH)
    verdict.report(output / "report.html")
    verdict.picture(output / "verdict.png")
    say(f"  with {IMAGES} real digits     {in_words(verdict)}")
    for line in exhibit_in_words(verdict):
        say(line)
    say(f"  report                   {output / 'report.html'}")
    say(f"  picture                  {output / 'verdict.png'}")
    return verdict


def handful() -> AuditorImages:
    """The test digits that an auditor has, with names."""
    dataset = load_dataset("digits")
    images = image_array(dataset.x_test[:IMAGES], dataset.input_shape)
    names = tuple(f"test digit {number} (a {label})" for number, label in enumerate(dataset.y_test[:IMAGES].tolist()))
    return AuditorImages(images, names=names, offered=len(images))


def measure(stores: Mapping[str, Store], unseen: int, workers: int | None) -> tuple[Calibration, list[Network]]:
    """Measure training networks and fix centre, scale and threshold on them; measure those that are judged by these.

    Parameters
    ----------
    stores : dict
        The demo's populations by name.
    unseen : int
        Clean networks that are judged, the first of the unseen ones, as for the detector of signatures.
    workers : int, optional

    Returns
    -------
    Calibration
    list of Network
        Unseen clean, virus-trojaned and stamped ones.
    """
    most = {"clean": None, "vaccine": VACCINES, "clean-unseen": unseen, "virus": None, "stamped": None}
    jobs = [
        (stores[name].folder, record.slot) for name, many in most.items() for record in passed(stores[name])[1][:many]
    ]
    networks = list(in_processes(measure_one, jobs, workers))
    training = {recipe(name).name for name in ("clean", "vaccine")}
    return (
        calibrated([one for one in networks if one.population in training]),
        [one for one in networks if one.population not in training],
    )


def measure_one(job: tuple[Path, int]) -> Network:
    """Measure one network, given its store's folder and its slot."""
    folder, slot = job
    return measure_network(Store.open(folder), slot, SEARCH, offered=IMAGES)


def judged(calibration: Calibration, networks: Sequence[Network]) -> tuple[Evaluation, list[bool]]:
    """How clean and trojaned networks are told apart, and which stamped ones are flagged."""
    scores = {
        role: np.array([calibration.score(one.counted)[0] for one in networks if one.role == role])
        for role in ("clean", "trojaned", "stamped")
    }
    both = np.r_[scores["clean"], scores["trojaned"]]
    labels = np.r_[np.zeros(len(scores["clean"]), np.int64), np.ones(len(scores["trojaned"]), np.int64)]
    flagged = scores["stamped"] >= calibration.threshold
    return evaluate_scores(both, labels, calibration.threshold), flagged.tolist()


def say_rates(result: Evaluation, flagged: Sequence[bool], say: Callable[[str], None]) -> None:
    """Print how well networks are told apart, and how many stamped ones are flagged."""
    say(f"  detection rate       {result.detection_rate}")
    say(f"  AUROC                {result.auroc}")
    say(f"  false positive rate  {result.false_positive_rate}")
    say(f"  stamped controls     {share_of(flagged)} flagged (trained on stamped images with true labels; no backdoor)")


def in_words(verdict: Verdict) -> str:
    """A verdict in one line."""
    where = f"pixel {verdict.pixel}" if verdict.place is None else words.place(verdict.place)
    return (
        f"{verdict.decision}, score {verdict.score:.2f}, threshold {verdict.threshold:.2f}, "
        f"p-value {verdict.p_value:.3f}; class {verdict.target_class}, {where}"
    )


def exhibit_in_words(verdict: Verdict) -> list[str]:
    """What the network says of some digits, unchanged and with the patch; nothing where there is no exhibit."""
    exhibit = verdict.exhibit
    if exhibit is None:
        return []
    counted = f"{exhibit.driven} of {exhibit.tried} digits go to class {exhibit.target_class} with the patch"
    return [f"  exhibit                  {counted}", *(f"    - {sentence}" for sentence in sentences(exhibit))]
