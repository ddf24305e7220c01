"""How results are written down: tables in Markdown and CSV, and beside them how they were made."""

import csv
import io
import platform
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import sklearn
import torch

from onepixel.files import write_text
from onepixel.threads import cores


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Lay a table out as Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def table_of(records: Iterable[Mapping[str, object]]) -> str:
    """Lay out records, all with the same columns, as Markdown; "-" where there is nothing."""
    rows = [{name: "-" if cell is None else cell for name, cell in record.items()} for record in records]
    return markdown_table(list(rows[0]) if rows else [], [list(row.values()) for row in rows])


def write_csv(path: str | Path, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write a table as CSV."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows([head, *rows])
    write_text(path, buffer.getvalue())


def mean(values: Sequence[float]) -> float | None:
    """Mean; None of none."""
    return float(np.mean(values)) if values else None


def spread(values: Sequence[float]) -> float | None:
    """Standard deviation, n - 1 in the denominator; None of fewer than two."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def percent(values: Sequence[float]) -> str:
    """`deviation` in percent, two digits."""
    return deviation([100 * value for value in values], 2)


def deviation(values: Sequence[float], digits: int = 3) -> str:
    """Mean and, of several values, standard deviation, as they are; "-" for none."""
    middle, around = mean(values), spread(values)
    if middle is None:
        return "-"
    return f"{middle:.{digits}f}" + ("" if around is None else f" ± {around:.{digits}f}")


def processor() -> str:
    """Name the processor, as far as the system tells."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def provenance(command: str, seconds: float) -> str:
    """How a result was made: command, date, cost, machine, versions, as a Markdown list."""
    from onepixel.version import __version__

    versions = (
        f"onepixel {__version__}, Python {platform.python_version()}, torch {torch.__version__}, "
        f"scikit-learn {sklearn.__version__}, NumPy {np.__version__}"
    )
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return "\n".join(
        [
            "## How it was made",
            "",
            f"- command: `{command}`",
            f"- date: {datetime.now(UTC):%Y-%m-%d}",
            f"- cost: {seconds:.0f} s, {torch.get_num_threads()} thread(s)",
            f"- machine: {processor()}, {cores()} core(s){gpu}",
            f"- versions: {versions}",
            "",
        ]
    )


def write_result(
    output: Path,
    name: str,
    head: Sequence[str],
    rows: Sequence[Sequence[object]],
    text: str,
    made: str,
    *,
    page: str | None = None,
) -> None:
    """Write `name`.csv for machines and `name`.md for people, the text and how it was `made`, below `output`.

    The page may have another name.
    """
    output.mkdir(parents=True, exist_ok=True)
    write_csv(output / f"{name}.csv", head, rows)
    write_text(output / (page or f"{name}.md"), text + "\n" + made)
