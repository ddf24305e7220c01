"""What the guards of the shipped detectors let be judged: other networks should be refused, their own should not.

    python benchmarks/guard.py --foreign STORE ...        # audits every network of the stores, then writes the table
    python benchmarks/guard.py                            # writes the table from what was audited before

Every finished network of each store is audited without images, by every shipped detector; what became of it is a line
of `results/any-classifier/guard-networks.csv`, and a network that has one is not audited again. The other side are
populations of the zoo, of each detector's own kind, that it was not trained on: their signatures are only shown to the
guard. Rates with 95 % intervals (Clopper-Pearson). Writes `results/any-classifier/guard.csv` and `.md`.
"""

import argparse
import csv
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from onepixel.classifiers import as_classifier
from onepixel.detectors import load_detector
from onepixel.detectors.metrics import clopper_pearson
from onepixel.errors import UndecidedError
from onepixel.populations import Store, open_population, passed
from onepixel.report.tables import markdown_table, provenance, write_result
from onepixel.threads import one_thread

FOLDER = Path("results/any-classifier")
NETWORKS = "guard-networks.csv"
ZOO = Path("zoo")

OWN = {
    "mnist-lenet5": ("mnist-lenet5-clean-final-class-means", "mnist-lenet5-virus-development-class-means"),
    "mnist-lenet5-black": ("mnist-lenet5-clean-final", "mnist-lenet5-virus-development"),
    "fashion-lenet5": ("fashion-lenet5-clean-final-class-means", "fashion-lenet5-virus-final-class-means"),
}
"""Populations of each shipped detector's own kind that it was not trained on."""


class Audited(NamedTuple):
    """What became of one foreign network: "refused", "trojaned" or "no evidence"."""

    detector: str
    population: str
    slot: int
    outcome: str


def audited(path: Path) -> list[Audited]:
    """What was audited before."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [
            Audited(row["detector"], row["population"], int(row["slot"]), row["outcome"])
            for row in csv.DictReader(file)
        ]


def audit(detector_name: str, folder: Path, known: set[tuple[str, str, int]]) -> Iterator[Audited]:
    """Audit the networks of a store that passed its thresholds and were not audited before."""
    detector, store = load_detector(detector_name), Store.open(folder)
    for record in store.records():
        if record.status != "passed" or (detector_name, folder.name, record.slot) in known:
            continue
        module, shape = store.module(record.slot), (1, *detector.shape_[1:])
        classifier = as_classifier(module, input_shape=shape, name=f"{folder.name} {record.slot}")
        try:
            outcome = "trojaned" if detector.audit(classifier).exit_status else "no evidence"
        except UndecidedError:
            outcome = "refused"
        yield Audited(detector_name, folder.name, record.slot, outcome)


def rate(count: int, of: int) -> str:
    """A share with its interval, in per cent."""
    if not of:
        return "-"
    found = clopper_pearson(count, of)
    return f"{100 * found.value:.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def foreign_lines(networks: Sequence[Audited]) -> list[list[object]]:
    """For each detector a line per population, and one for all clean networks of random architecture together."""
    lines: list[list[object]] = []
    for detector in OWN:
        own = [one for one in networks if one.detector == detector]
        groups = {name: [one for one in own if one.population == name] for name in sorted({p for _, p, _, _ in own})}
        drawn = [one for name, group in groups.items() if "-random-clean" in name for one in group]
        for name, group in {**groups, "all clean ones of random architecture": drawn}.items():
            count = {what: sum(one.outcome == what for one in group) for what in ("refused", "trojaned", "no evidence")}
            rates = (rate(count["refused"], len(group)), rate(count["trojaned"], len(group)))
            lines.append([detector, name, len(group), *count.values(), *rates])
    return lines


def own_lines() -> list[list[object]]:
    """How many networks of each detector's own kind its guard refuses."""
    lines: list[list[object]] = []
    for detector, names in OWN.items():
        guard = load_detector(detector).guard_
        assert guard is not None
        for name in names:
            rows = passed(open_population(ZOO / name))[0]
            refused = int((~guard.familiar(rows)).sum())
            lines.append([detector, name, len(rows), refused, "", "", rate(refused, len(rows)), ""])
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--foreign", nargs="*", type=Path, default=[], help="stores of networks of another kind")
    parser.add_argument("--detectors", nargs="*", default=list(OWN), choices=list(OWN))
    parser.add_argument("--output", type=Path, default=FOLDER)
    asked = parser.parse_args(arguments)
    started = time.perf_counter()
    path = asked.output / NETWORKS
    path.parent.mkdir(parents=True, exist_ok=True)
    known = {(one.detector, one.population, one.slot) for one in audited(path)}
    with path.open("a", newline="") as file, one_thread():
        writer = csv.writer(file, lineterminator="\n")
        if not file.tell():
            writer.writerow(Audited._fields)
        for store in asked.foreign:
            for detector in asked.detectors:
                for one in audit(detector, store, known):
                    writer.writerow(one)
                    file.flush()
                    print(*one, flush=True)
    foreign, own = foreign_lines(audited(path)), own_lines()
    head = ["detector", "population", "networks", "refused", "trojaned", "no evidence", "refused %", "trojaned %"]
    given = sys.argv[1:] if arguments is None else arguments
    made = provenance(shlex.join(["python", "benchmarks/guard.py", *given]), time.perf_counter() - started)
    text = f"""# The guard: which networks the shipped detectors judge without images

Networks of other kinds than a detector's, all without a backdoor unless their population says otherwise: "refused" is
what should become of them, "trojaned" a false alarm. Rates with 95 % intervals.

{markdown_table(head, foreign)}

Networks of each detector's own kind, clean and trojaned, that it was not trained on: every one refused is one that an
auditor has to give images for although the detector could have judged it.

{markdown_table([*head[:4], head[6]], [[*line[:4], line[6]] for line in own])}
"""
    write_result(asked.output, "guard", head, [*foreign, *own], text, made)
    print(text)


if __name__ == "__main__":
    main()
