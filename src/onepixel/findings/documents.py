"""`--json`: the verdict of one model, or the list of several; both follow the published JSON Schema.

The schema's version changes when a key changes its meaning or goes away; new keys may come within one version.
"""

import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from onepixel.findings.outcome import Outcome
from onepixel.findings.taxonomy import references
from onepixel.version import __version__

VERSION = 1
SCHEMA = f"urn:onepixel:audit:{VERSION}"


def document(outcomes: Sequence[Outcome], *, several: bool) -> dict[str, Any]:
    """What `--json` prints: one model's verdict, or several models with the worst exit status."""
    if not several:
        return {**head(), **entry(outcomes[0])}
    status = max((outcome.exit_status for outcome in outcomes), key=severity, default=0)
    return {**head(), "exit_status": status, "models": [entry(outcome) for outcome in outcomes]}


def head() -> dict[str, Any]:
    """Which schema a document follows, and what wrote it."""
    return {"schema": SCHEMA, "onepixel": __version__}


def entry(outcome: Outcome) -> dict[str, Any]:
    """One model: its verdict's keys, beside what every outcome has."""
    return {
        "model": outcome.name,
        "sha256": outcome.sha256,
        "exit_status": outcome.exit_status,
        "decision": outcome.decision,
        "reason": outcome.reason,
        **(outcome.verdict or {}),
        "references": references() if outcome.trojaned else [],
    }


def severity(exit_status: int) -> int:
    """How bad an exit status is among those of several models: a backdoor is worst, then what was not found out."""
    return {0: 0, 3: 1, 2: 2, 4: 3, 1: 4}.get(exit_status, 3)


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) that every document follows; it ships with the package."""
    return json.loads(files("onepixel.findings").joinpath("audit-1.schema.json").read_text("utf-8"))
