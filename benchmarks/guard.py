"""How many networks the guard of a shipped detector lets be judged, and what is said of them.

    python benchmarks/guard.py mnist-lenet5 STORE ... --output results/any-classifier/guard.csv

Every finished network of each store is audited without images. Networks of another architecture than the detector's
should be refused, and few clean ones called trojaned. One row per store: networks, refused, called trojaned, called
without evidence; both rates with 95 % intervals (Clopper-Pearson).
"""

import argparse
import csv
from pathlib import Path

from onepixel.classifiers import as_classifier
from onepixel.detectors import load_detector
from onepixel.detectors.metrics import clopper_pearson
from onepixel.errors import UndecidedError
from onepixel.populations import Store
from onepixel.threads import one_thread

COLUMNS = ("detector", "population", "networks", "refused", "trojaned", "no_evidence", "refusal_rate", "trojaned_rate")


def counted(detector_name: str, folder: Path, most: int) -> dict[str, object]:
    """One row: what becomes of the networks of a store."""
    detector, store = load_detector(detector_name), Store.open(folder)
    classes, height, width = detector.shape_
    found = {"refused": 0, "trojaned": 0, "no_evidence": 0}
    records = [record for record in store.records() if record.status == "passed"][:most]
    for record in records:
        module = store.module(record.slot)
        classifier = as_classifier(module, input_shape=(1, height, width), name=f"{folder.name} {record.slot}")
        assert classifier.classes == classes
        try:
            verdict = detector.audit(classifier)
            found["trojaned" if verdict.exit_status else "no_evidence"] += 1
        except UndecidedError:
            found["refused"] += 1
    return {
        "detector": detector_name,
        "population": folder.name,
        "networks": len(records),
        **found,
        "refusal_rate": clopper_pearson(found["refused"], len(records)),
        "trojaned_rate": clopper_pearson(found["trojaned"], len(records)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("detector")
    parser.add_argument("stores", nargs="+", type=Path)
    parser.add_argument("--most", type=int, default=1000, help="networks of each store, at most")
    parser.add_argument("--output", type=Path, required=True)
    asked = parser.parse_args()
    new = not asked.output.exists()
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    with asked.output.open("a", newline="") as file, one_thread():
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        for store in asked.stores:
            row = counted(asked.detector, store, asked.most)
            writer.writerow(row)
            file.flush()
            print(row, flush=True)


if __name__ == "__main__":
    main()
