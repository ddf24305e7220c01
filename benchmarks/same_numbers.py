"""Compare tables that were made again with those that are kept: `python benchmarks/same_numbers.py FOLDER [results]`.

    onepixel experiment all --from-zoo --pool final --output FOLDER
    python benchmarks/same_numbers.py FOLDER

Every CSV below FOLDER is held against the one of the same name in `results/`. Rows belong together where all cells that
are no measured numbers agree (method, seed, level, ...), so that a table made with fewer seeds is compared by those
that it has. A number is the same if it differs by no more than `--tolerance`, or than the kept rows differ among
themselves that are alike but for their seed: detectors trained on another processor or version come out like those of
another seed. Where the kept table has one seed, the widest spread of that column in the kept tables of its folder
counts, and where those have one seed too, `--one-seed`. A line per table says how many rows were found again and how
much the numbers differ; then the tables are listed that differ, that are only here or only there, and rows that have no
partner. The exit status is 1 where a number differs or no row of a table was found again.
"""

import argparse
import csv
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

COSTS = ("seconds",)
"""Columns that depend on the machine."""

SEED = "seed"

Key = tuple[tuple[str, str], ...]
"""The cells of a row that are no measured numbers."""

Rows = dict[Key, dict[str, float]]


def is_measured(text: str) -> bool:
    """Whether a cell is a measured number: it has a decimal point, or an exponent."""
    try:
        float(text)
    except ValueError:
        return False
    return "." in text or "e" in text


def rows_of(path: Path) -> Rows:
    """The measured numbers of every row, by all else in it."""
    found = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            kept = {name: cell for name, cell in row.items() if name not in COSTS}
            key = tuple((name, cell) for name, cell in kept.items() if cell and not is_measured(cell))
            found[key] = {name: float(cell) for name, cell in kept.items() if is_measured(cell)}
    return found


def spreads(rows: Rows) -> dict[tuple[Key, str], float]:
    """How much every number differs between rows that are alike but for their seed, by the rest of the row."""
    values: defaultdict[tuple[Key, str], list[float]] = defaultdict(list)
    for key, numbers in rows.items():
        for name, number in numbers.items():
            values[but_for_seed(key), name].append(number)
    return {place: max(found) - min(found) for place, found in values.items() if len(found) > 1}


def widest(folder: Path) -> dict[str, float]:
    """The widest spread of every column over seeds in the tables of a folder."""
    found: dict[str, float] = {}
    for path in folder.glob("*.csv"):
        for (_, name), spread in spreads(rows_of(path)).items():
            found[name] = max(found.get(name, 0.0), spread)
    return found


def but_for_seed(key: Key) -> Key:
    """The rest of a row."""
    return tuple(cell for cell in key if cell[0] != SEED)


class Table(NamedTuple):
    """A table that was made again beside the one that is kept.

    Attributes
    ----------
    made, kept, both : int
        Rows made, rows kept, and rows that are in both.
    largest : dict
        The largest difference in every column.
    differing : list of (Key, str, float, float)
        Numbers that are not the same: row, column, kept and made.
    """

    made: int
    kept: int
    both: int
    largest: dict[str, float]
    differing: list[tuple[Key, str, float, float]]

    @property
    def same(self) -> bool:
        """Whether rows were found again, and no number of theirs differs."""
        return self.both > 0 and not self.differing

    def __str__(self) -> str:
        highest = max(self.largest.values(), default=0.0)
        worst = [f"{name} {value:.4f}" for name, value in self.largest.items() if value == highest and value > 0]
        said = f"largest difference {', '.join(worst[:3])}" if worst else "no number differs"
        mark = "" if self.same else f" <- NOT THE SAME ({len(self.differing)} numbers)"
        return f"{self.both} of {self.made} rows found again, of {self.kept} kept; {said}{mark}"


def compared(made: Path, kept: Path, tolerance: float, one_seed: float) -> Table:
    """Hold a table that was made against the one that is kept."""
    new, old = rows_of(made), rows_of(kept)
    both, of_row, of_column = [key for key in new if key in old], spreads(old), widest(kept.parent)
    largest: dict[str, float] = {}
    differing = []
    for key in both:
        for name in new[key].keys() & old[key].keys():
            difference = abs(new[key][name] - old[key][name])
            largest[name] = max(largest.get(name, 0.0), difference)
            allowed = of_row.get((but_for_seed(key), name), of_column.get(name, one_seed))
            if difference > max(tolerance, allowed) + 1e-9:
                differing.append((key, name, old[key][name], new[key][name]))
    return Table(len(new), len(old), len(both), largest, differing)


def listed(title: str, lines: Sequence[object]) -> None:
    """Print a list, if it has anything."""
    if lines:
        print(f"\n{title}:")
        for line in lines:
            print(f"  {line}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line per table, and what is to be looked at."""
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("results", type=Path, nargs="?", default=Path("results"))
    parser.add_argument("--tolerance", type=float, default=0.005)
    parser.add_argument("--one-seed", type=float, default=0.05)
    asked = parser.parse_args(arguments)
    made = {path.relative_to(asked.folder): path for path in sorted(asked.folder.rglob("*.csv"))}
    kept = {path.relative_to(asked.results): path for path in sorted(asked.results.glob("*/*.csv"))}
    tables = {
        name: compared(made[name], kept[name], asked.tolerance, asked.one_seed)
        for name in made
        if name in kept and name.name != "openings.csv"
    }
    for name, table in tables.items():
        print(f"{name}: {table}")
    wrong = [name for name, table in tables.items() if not table.same]
    for name in wrong:
        cells = [
            f"{', '.join(cell for _, cell in key)}: {column} {before:.4f} kept, {now:.4f} made"
            for key, column, before, now in tables[name].differing
        ]
        listed(f"{name}, numbers that differ by more than the seeds' spread", cells or ["no row was found again"])
    some = [f"{name}: {t.made - t.both} of {t.made} made" for name, t in tables.items() if t.both < t.made]
    listed("Rows without a partner that is kept", some)
    listed("Made, and not kept", [name for name in made if name not in kept and name.name != "openings.csv"])
    listed(
        "Kept, and not made (other options, or records and networks of their own)", sorted(kept.keys() - made.keys())
    )
    print(f"\n{len(tables) - len(wrong)} of {len(tables)} tables have the same numbers.")
    return int(bool(wrong) or not tables)


if __name__ == "__main__":
    sys.exit(main())
