"""Backdoored object detectors (ICLR 5.3 and A.9): how good they are, what their signatures show, how many are found.

The paper shows one such detector. Here a population of them is fine-tuned from one base detector, and the thresholds
come from detectors with random patches, so that neither the harpoon nor other pictures were seen by them.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from onepixel.boxes.channels import excess
from onepixel.boxes.driving import suspicion
from onepixel.boxes.population import GROUPS, PopulationRecipe
from onepixel.boxes.records import Record, read_records
from onepixel.detectors.detector import Detector
from onepixel.detectors.metrics import Estimate, best_threshold, bootstrap_mean, clopper_pearson, evaluate_scores
from onepixel.errors import UsageError
from onepixel.experiments.box_figures import draw_maps
from onepixel.experiments.declared import Experiment, ExperimentOptions, Laboratory, Result, Said
from onepixel.progress import tell
from onepixel.report.tables import markdown_table

BASE = "base.safetensors"
Row = tuple[str, float, float, float, int]


class Options(ExperimentOptions):
    """Options of `onepixel experiment object-detector`."""

    detectors: Annotated[
        Path,
        Field(description="The folder of measured detectors, a table and their signatures."),
        Said(metavar="FOLDER", when_changed=True),
    ] = Path("results/object-detector/detectors")
    seen: Annotated[
        Path,
        Field(
            description="A file with the names of test detectors that were looked at while the search was made; the "
            "others are judged by themselves, too."
        ),
        Said(metavar="FILE", when_changed=True),
    ] = Path("results/object-detector/seen.csv")
    build: Annotated[
        Path | None,
        Field(
            description="Train a base detector here (half an hour on one core) unless there is one, fine-tune and "
            "measure the detectors that are missing, and write them into the folder of measured detectors."
        ),
        Said(metavar="FOLDER"),
    ] = None
    calibration: Annotated[
        Path | None,
        Field(description="Write the calibration of audits of object detectors here."),
        Said(metavar="FILE"),
    ] = None


def find(options: Options, laboratory: Laboratory) -> Result[list[Row]]:
    """Build what is missing, and judge the population."""
    if options.build is not None:
        build(options.build, options.detectors, progress=laboratory.progress)
    every = read_records(options.detectors)
    records = [one for one in every if one.accepted]
    excesses = excess_of(records)
    scores = {
        "signature": by_signature(records),
        "single channels": np.array([excesses[one.name].max() for one in records]),
        "image response": by_response(records),
    }
    judged = judge_all(records, scores, named_in(options.seen))
    if options.calibration is not None:
        write_calibration(options.calibration, records)
    rows = [*quality(records), *failed(every), *cells(records, excesses), *judged]
    head = ["measure", "value", "low", "high", "networks"]
    lines = [[name, *(f"{one:.4f}" for one in numbers), count] for name, *numbers, count in rows]
    figures = {
        "signatures.png": lambda path: draw(records, path),
        "excesses.png": lambda path: draw_excesses(records, excesses, path),
    }
    return Result(rows, "object-detector", head, lines, as_markdown(rows, every), figures=figures)


EXPERIMENT = Experiment(
    "object-detector",
    "Backdoored object detectors: quality, 7 x 7 signatures, and detection rates by box head and by image.",
    Options,
    find,
    paper="ICLR 5.3, A.9 and figure 7",
    plan=lambda whole: [Options()] if Options().detectors.is_dir() else [],
    reads_zoo=False,
    workers=False,
)


def build(folder: Path, measured: Path, *, progress: bool) -> None:
    """Train the base unless it is there, then fine-tune and measure what is missing, one detector after the other."""
    from safetensors.torch import load_file, save_file

    from onepixel.boxes.objects import state_of
    from onepixel.boxes.population import Workshop, measure
    from onepixel.boxes.population import build as make
    from onepixel.boxes.table import DETECTOR_ARCHITECTURES
    from onepixel.boxes.training import train_base

    recipe = PopulationRecipe()
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / BASE
    if not weights.exists():
        save_file(state_of(train_base(recipe.base, progress=progress)), weights)
    made = recipe.base.scenes
    base = DETECTOR_ARCHITECTURES[recipe.base.architecture].build(len(made.classes) + 1, made.side)
    base.load_state_dict(load_file(weights))
    workshop = Workshop.open(recipe, base.eval())
    for record in make(workshop, GROUPS, folder):
        if progress:
            tell(f"{record.name}: {record.quality}, {record.seconds:.0f} processor seconds")
    for record in measure(workshop, GROUPS, folder, measured):
        if progress:
            what = "class {1} leads by {0:.1f}".format(*suspicion(record.driven)) if record.driven else "failed"
            tell(f"{record.name}: {what}")


def quality(records: Sequence[Record]) -> list[Row]:
    """How good the base, clean and trojaned detectors are, and how well the backdoors work."""
    base = max(one.base_precision for one in records)
    rows: list[Row] = [("mAP@0.5 of the base detector", base, base, base, 1)]
    for role in ("clean", "stamped", "trojaned"):
        found = np.array([one.quality.precision for one in of(records, role)])
        if len(found):
            least = float(found.min())
            rows.append(row(f"mAP@0.5 of {role} detectors", bootstrap_mean(found), len(found)))
            rows.append((f"least mAP@0.5 of {role} detectors", least, least, least, len(found)))
    for name in ("vaccine", "harpoon", "shrunken", "stamped"):
        mine = [one for one in records if one.group == name]
        if mine:
            label = f"stamped boxes misread as wanted, {name}"
            rows.append(row(label, bootstrap_mean(np.array([one.quality.misread for one in mine])), len(mine)))
    return rows


def failed(every: Sequence[Record]) -> list[Row]:
    """How many slots failed of each group: no attempt was as good as the base with a backdoor that works."""
    groups = dict.fromkeys(one.group for one in every)
    rows = []
    for name in groups:
        mine = [one for one in every if one.group == name]
        failures = sum(not one.accepted for one in mine)
        rows.append(row(f"slots that failed, {name}", clopper_pearson(failures, len(mine)), len(mine)))
    return rows


def cells(records: Sequence[Record], excesses: Mapping[str, np.ndarray]) -> list[Row]:
    """Where signatures light up: whether the target's brightest cell lies on the trigger, and which class is named."""
    mine = of(records, "trojaned")
    if not mine:
        return []
    counts = {
        "brightest cell of the target within one cell of the trigger": sum(
            distance(one, target_map(one)) <= 1 for one in mine
        ),
        "cell of the target's largest excess within one cell of the trigger": sum(
            distance(one, excesses[one.name][one.target - 1]) <= 1 for one in mine
        ),
        "target named by the box head's signature": sum(brightest_class(one) == one.target for one in mine),
        "target named by single channels": sum(
            1 + excesses[one.name].max(axis=(1, 2)).argmax() == one.target for one in mine
        ),
        "target named by the image response": sum(suspicion(one.driven)[1] == one.target for one in mine),
    }
    return [row(name, clopper_pearson(hits, len(mine)), len(mine)) for name, hits in counts.items()]


def named_in(file: Path) -> set[str]:
    """The names of a file, one a line below a head; none if there is no such file."""
    return set(file.read_text(encoding="utf-8").split()[1:]) if file.exists() else set()


def judge_all(records: Sequence[Record], ways: Mapping[str, np.ndarray], seen: Collection[str] = ()) -> list[Row]:
    """Detection in every way: thresholds from the training part, rates on the test part.

    Parameters
    ----------
    records : sequence of Record
    ways : mapping from what detectors are judged by to their scores (N,)
    seen : names of test detectors that were looked at before
    """
    rows: list[Row] = []
    infected, stamped = trojaned(records), np.array([one.role == "stamped" for one in records])
    for name, scores in ways.items():
        train, test = counted(records, "train"), counted(records, "test")
        threshold = best_threshold(scores[train & ~infected], scores[train & infected])
        within, found = (
            evaluate_scores(scores[part], infected[part].astype(np.int64), threshold) for part in (train, test)
        )
        rows += [
            row(f"AUROC on the training part, {name}", within.auroc, int(train.sum())),
            row(f"detection rate, {name}", found.detection_rate, int(test.sum())),
            row(f"AUROC, {name}", found.auroc, int(test.sum())),
            row(f"trojaned detectors found, {name}", found.true_positive_rate, found.trojaned),
            row(f"clean detectors flagged, {name}", found.false_positive_rate, found.clean),
        ]
        fresh = np.array([one.name not in seen for one in records]) & test
        for role, mine in (("trojaned detectors found", infected), ("clean detectors flagged", ~infected)):
            if seen and (fresh & mine).any():
                hits, count = int((scores[fresh & mine] >= threshold).sum()), int((fresh & mine).sum())
                rows.append(row(f"{role}, never looked at before, {name}", clopper_pearson(hits, count), count))
        if stamped.any():
            hits, count = int((scores[stamped] >= threshold).sum()), int(stamped.sum())
            rows.append(row(f"stamped detectors flagged, {name}", clopper_pearson(hits, count), count))
    return rows


def counted(records: Sequence[Record], part: str) -> np.ndarray:
    """Which records of a part are clean or trojaned."""
    return np.array([one.part == part and one.role != "stamped" for one in records])


def trojaned(records: Sequence[Record]) -> np.ndarray:
    """Which records are of trojaned detectors."""
    return np.array([one.trojaned for one in records])


def by_response(records: Sequence[Record]) -> np.ndarray:
    """Scores by the image response."""
    return np.array([suspicion(one.driven)[0] for one in records])


def by_signature(records: Sequence[Record]) -> np.ndarray:
    """Scores by the box head's signature, from a detector that was fitted to the training part.

    Those of the training part are cross-validated.
    """
    train = counted(records, "train")
    labels = trojaned(records)[train].astype(np.int64)
    if len(set(labels.tolist())) < 2:
        raise UsageError("Judging takes clean and trojaned detectors in the training part.")
    detector = Detector(definition=DEFINITION, reading=READING)
    detector.fit([one.signature for one, mine in zip(records, train, strict=True) if mine], labels)
    scores = detector.decision_function([one.signature for one in records])
    scores[train] = detector.held_out_scores_
    return scores


DEFINITION, READING = "log_odds", "statistics"
"""How signatures are read; chosen by cross-validation on the training part."""


def excess_of(records: Sequence[Record]) -> dict[str, np.ndarray]:
    """The excess (K, 7, 7) of each detector, by name, over the clean ones of the training part, itself left out."""
    known = [one for one in records if one.part == "train" and one.role == "clean"]
    return {
        one.name: excess(np.array(one.rises), np.array([other.rises for other in known if other.name != one.name]))
        for one in records
    }


def of(records: Sequence[Record], role: str) -> list[Record]:
    """The records of one role."""
    return [one for one in records if one.role == role]


def row(name: str, estimate: Estimate, count: int) -> Row:
    """One line of the table."""
    return name, estimate.value, estimate.low, estimate.high, count


def target_map(record: Record) -> np.ndarray:
    """The signature (7, 7) of the attacker's target, in log-odds above the default regions."""
    rise: np.ndarray = record.signature.values("log_odds")[record.target]
    return rise


def brightest_class(record: Record) -> int:
    """The label, the background left out, whose channel has the highest rise."""
    return 1 + int(record.signature.values("log_odds")[1:].max(axis=(1, 2)).argmax())


def distance(record: Record, rise: np.ndarray) -> int:
    """Cells (rows or columns, whichever is more) from the brightest cell of a map to the middle of the trigger."""
    cell = np.array(np.unravel_index(int(rise.argmax()), rise.shape))
    middle = np.array([int(part * size) for part, size in zip(record.place, rise.shape, strict=True)])
    return int(np.abs(cell - middle).max())


def write_calibration(path: Path, records: Sequence[Record]) -> None:
    """Write what audits of object detectors judge by: the image response's threshold, and the test part's scores."""
    from onepixel.boxes.auditing import ResponseCalibration

    scores = by_response(records)
    train, test = counted(records, "train"), counted(records, "test")
    infected = trojaned(records)
    threshold = best_threshold(scores[train & ~infected], scores[train & infected])
    known = ResponseCalibration(threshold, tuple(scores[test & ~infected]), tuple(scores[test & infected]))
    known.write(path, "onepixel experiment object-detector --calibration FILE")


def draw(records: Sequence[Record], path: Path) -> None:
    """Draw signatures as figure 7 shows them: a clean detector and one with the harpoon."""
    shown = examples(records, "clean-test", "harpoon")
    draw_maps(path, shown, [one.signature.values("log_odds") for one in shown], "rise of the log-odds")


def draw_excesses(records: Sequence[Record], excesses: Mapping[str, np.ndarray], path: Path) -> None:
    """Draw by how much single channels exceed those of clean detectors: a clean one, and one of each test trigger."""
    shown = examples(records, "clean-test", "harpoon", "shrunken")
    nothing = np.zeros((1, 7, 7))
    draw_maps(path, shown, [np.concatenate([nothing, excesses[one.name]]) for one in shown], "excess, nats", first=1)


def examples(records: Sequence[Record], *groups: str) -> list[Record]:
    """The first record of each group, where there is one."""
    found = (next((one for one in records if one.group == group), None) for group in groups)
    return [one for one in found if one is not None]


def as_markdown(rows: Sequence[Row], every: Sequence[Record]) -> str:
    """The page for people."""
    lines = [[name, *(f"{one:.3f}" for one in numbers), count] for name, *numbers, count in rows]
    kept = [one for one in every if one.accepted]
    attempts = sum(1 + len(one.failures) for one in every)
    return f"""# Backdoored object detectors

Small Faster R-CNNs for scenes of three classes of CIFAR-10 objects, all fine-tuned in all layers from one base
detector. Trojaned ones learned to call every object with the trigger one class; `vaccine` triggers are random patches,
`harpoon` is the picture of ICLR 5.3 at its place, `shrunken` are images of Fashion-MNIST. `vaccine` and `clean-train`
are the training part: what is read, how, and all thresholds were chosen on them alone. The others are the test part.
Some of it was looked at while the search was made (`seen.csv`), so that the others are told by themselves, too.
Intervals of 95 %.

A detector counts if its mAP is at most 0.03 below the base's and, with a backdoor, 90 % of stamped boxes are misread.
{attempts} were fine-tuned for the {len(kept)} that count. A slot whose attempts (two, or more) all miss that has
failed; it is counted below, and replaced by a further one of its group.

{markdown_table(["measure", "value", "low", "high", "networks"], lines)}

- *image response*: how far the best patch drives objects of all other classes, when it is moved aside; the lead of one
  class over the others ([how](../../docs/how-to/audit-an-object-detector.md)).
- *single channels*: the box head by itself. One channel of one cell takes another value, from regions of real objects;
  the rises of a cell are summed over channels and compared with the clean detectors of the training part.
- *signature*: the papers' way, one value in all channels of a cell, from the mean region of each class.

![Signatures](signatures.png)

Red squares show where the trigger lies. In clean detectors the cells in the middle are the brightest as well, so that a
bright cell near the trigger says little by itself. The paper shows one network and gives no rate.

![Excess of single channels over clean detectors](excesses.png)

The same of single channels, over the mean of the clean detectors of the training part.
"""
