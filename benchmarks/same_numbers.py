"""Compare tables that were made again with those that are kept: `python benchmarks/same_numbers.py FOLDER [results]`.

Every CSV below FOLDER is held against the one of the same name in `results/`. Rows belong together where all cells that
are no measured numbers agree (method, seed, level, ...), so that a table made with fewer seeds is compared by those
that it has. A line per table says how many rows were found again and how much the numbers differ; the exit status is 1
where a number differs by more than `--tolerance`, or no row was found again.
"""

import argparse
import csv
import sys
from pathlib import Path

COSTS = ("seconds",)
"""Columns that depend on the machine."""


def is_measured(text: str) -> bool:
    """Whether a cell is a measured number: it has a decimal point."""
    try:
        float(text)
    except ValueError:
        return False
    return "." in text


def rows_of(path: Path) -> dict[tuple[tuple[str, str], ...], dict[str, float]]:
    """The measured numbers of every row, by all else in it."""
    found = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            kept = {name: cell for name, cell in row.items() if name not in COSTS}
            key = tuple((name, cell) for name, cell in kept.items() if cell and not is_measured(cell))
            found[key] = {name: float(cell) for name, cell in kept.items() if is_measured(cell)}
    return found


def compared(made: Path, kept: Path) -> tuple[int, int, dict[str, float]]:
    """How many rows were made, how many of them are kept too, and the largest difference in every column."""
    new, old = rows_of(made), rows_of(kept)
    both = [key for key in new if key in old]
    differences: dict[str, float] = {}
    for key in both:
        for name in new[key].keys() & old[key].keys():
            differences[name] = max(differences.get(name, 0.0), abs(new[key][name] - old[key][name]))
    return len(new), len(both), differences


def main() -> int:
    """Print a line per table."""
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("results", type=Path, nargs="?", default=Path("results"))
    parser.add_argument("--tolerance", type=float, default=0.005)
    asked = parser.parse_args()
    status = 0
    for made in sorted(asked.folder.rglob("*.csv")):
        kept = asked.results / made.relative_to(asked.folder)
        if not kept.is_file():
            print(f"{made.relative_to(asked.folder)}: not kept, nothing to compare")
            continue
        new, both, differences = compared(made, kept)
        largest = max(differences.values(), default=0.0)
        worst = [f"{name} {value:.4f}" for name, value in differences.items() if value == largest and value > 0]
        same = both > 0 and largest <= asked.tolerance
        said = f"largest difference {', '.join(worst)}" if worst else "no number differs"
        mark = "" if same else " <- NOT THE SAME"
        print(f"{made.relative_to(asked.folder)}: {both} of {new} rows found again, {said}{mark}")
        status = max(status, int(not same))
    return status


if __name__ == "__main__":
    sys.exit(main())
