"""SARIF 2.1.0 (OASIS), which code scanning services and editors read: one result per model.

A trojaned model is an error, one without evidence a passed check, and one without a verdict a notification of the run.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from onepixel.findings.outcome import Outcome
from onepixel.findings.taxonomy import ATLAS, OWASP, REFERENCES
from onepixel.version import __version__

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
RULE, UNDECIDED = "OP0001", "OP0002"
NUMBERS = ("score", "threshold", "p_value", "probability", "prior", "target_class", "source_classes", "pixel", "place",
           "detector", "method", "queries", "assumptions")  # fmt: skip
"""The keys of a verdict that a result carries as properties."""

TAXONOMIES = {
    ATLAS: {"name": ATLAS, "organization": "MITRE", "informationUri": "https://atlas.mitre.org"},
    OWASP: {
        "name": OWASP,
        "organization": "OWASP",
        "informationUri": "https://owasp.org/www-project-machine-learning-security-top-10/",
    },
}


def sarif(outcomes: Sequence[Outcome]) -> str:
    """The text of a SARIF file with one run."""
    decided = [outcome for outcome in outcomes if outcome.verdict is not None]
    undecided = [outcome for outcome in outcomes if outcome.verdict is None]
    run = {
        "tool": {
            "driver": {
                "name": "onepixel",
                "version": __version__,
                "semanticVersion": __version__,
                "rules": [backdoor_rule()],
                "notifications": [undecided_rule()],
                "supportedTaxonomies": [{"name": name, "index": n} for n, name in enumerate(TAXONOMIES)],
            }
        },
        "taxonomies": [taxonomy(name) for name in TAXONOMIES],
        "artifacts": [artifact(outcome) for outcome in outcomes],
        "invocations": [
            {
                "executionSuccessful": not undecided,
                "toolExecutionNotifications": [notification(outcome, outcomes) for outcome in undecided],
            }
        ],
        "results": [result(outcome, outcomes) for outcome in decided],
        "columnKind": "unicodeCodePoints",
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def backdoor_rule() -> dict[str, Any]:
    """The rule that a trojaned model breaks."""
    return {
        "id": RULE,
        "name": "BackdooredClassifier",
        "shortDescription": {"text": "An image classifier carries evidence of a backdoor."},
        "fullDescription": {
            "text": "A small change of the image drives the classifier to one class further than such changes do in "
            "networks without a backdoor."
        },
        "help": {
            "text": "Do not deploy the model. Ask its vendor for the training data and procedure, or have it trained "
            "anew from data that you trust. A verdict speaks of the attack families that were tested."
        },
        "defaultConfiguration": {"level": "error"},
        "properties": {"tags": ["security", *(reference.id for reference in REFERENCES)], "security-severity": "9.0"},
        "relationships": [{"target": pointer(reference.id), "kinds": ["superset"]} for reference in REFERENCES],
    }


def undecided_rule() -> dict[str, Any]:
    """The notification for a model that could not be judged."""
    return {
        "id": UNDECIDED,
        "name": "CouldNotDecide",
        "shortDescription": {"text": "A model could not be judged; the message says why."},
        "fullDescription": {"text": "There is no verdict on this model, neither good nor bad; the message says why."},
        "help": {"text": "Do what the message asks for, and audit the model again. Until then it is not audited."},
        "defaultConfiguration": {"level": "warning"},
    }


def taxonomy(name: str) -> dict[str, Any]:
    """A public list, with the entries that are used here."""
    taxa = [
        {"id": reference.id, "name": reference.name, "helpUri": reference.url}
        for reference in REFERENCES
        if reference.source == name
    ]
    return {**TAXONOMIES[name], "isComprehensive": False, "taxa": taxa}


def pointer(identifier: str) -> dict[str, Any]:
    """How a rule or a result names an entry of a taxonomy."""
    reference = next(reference for reference in REFERENCES if reference.id == identifier)
    among = [other.id for other in REFERENCES if other.source == reference.source]
    source = {"name": reference.source, "index": list(TAXONOMIES).index(reference.source)}
    return {"id": identifier, "index": among.index(identifier), "toolComponent": source}


def location(outcome: Outcome) -> dict[str, Any]:
    """Where a model lies, as a URI in which every unusual character is escaped."""
    if outcome.model.startswith(("http://", "https://", "hf://")):
        return {"uri": quote(outcome.model, safe=":/?&=%@")}
    path = Path(outcome.model)
    # A colon in the first part of a relative reference would read as a scheme.
    return {"uri": ("file://" if path.is_absolute() else "") + quote(path.as_posix(), safe="/")}


def artifact(outcome: Outcome) -> dict[str, Any]:
    """A model as a file, with its digest."""
    found: dict[str, Any] = {"location": location(outcome), "roles": ["analysisTarget"]}
    if outcome.sha256 is not None:
        found["hashes"] = {"sha-256": outcome.sha256}
    return found


def place_of(outcome: Outcome, outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """A result's location: the model file, which has no lines."""
    where = {**location(outcome), "index": list(outcomes).index(outcome)}
    return [{"physicalLocation": {"artifactLocation": where, "region": {"startLine": 1}}}]


def result(outcome: Outcome, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The verdict on one model."""
    verdict = outcome.verdict or {}
    fingerprint = outcome.sha256 or outcome.model
    return {
        "ruleId": RULE,
        "ruleIndex": 0,
        "kind": "fail" if outcome.trojaned else "pass",
        "level": "error" if outcome.trojaned else "none",
        "message": {"text": outcome.sentence},
        "locations": place_of(outcome, outcomes),
        "partialFingerprints": {"modelAndTarget/v1": f"{fingerprint}:{verdict.get('target_class')}"},
        "taxa": [pointer(reference.id) for reference in REFERENCES] if outcome.trojaned else [],
        "properties": {key: verdict[key] for key in NUMBERS if verdict.get(key) is not None},
    }


def notification(outcome: Outcome, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Why there is no verdict."""
    return {
        "descriptor": {"id": UNDECIDED, "index": 0},
        "level": "error" if outcome.exit_status in (2, 4) else "warning",
        "message": {"text": outcome.sentence},
        "locations": place_of(outcome, outcomes),
    }
