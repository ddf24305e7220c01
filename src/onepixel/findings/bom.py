"""A CycloneDX ML-BOM (1.6): every model a component with its digest, the verdict as evidence of a declared claim.

A trojaned model is also a vulnerability of its component, so that tools which know of no declarations show it too.
"""

import json
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from onepixel.findings.outcome import Outcome, suspect
from onepixel.findings.taxonomy import REFERENCES
from onepixel.version import __version__

ASSESSOR = "assessor-onepixel"


def bom(outcomes: Sequence[Outcome]) -> str:
    """The text of a CycloneDX file in JSON."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    numbered = list(enumerate(outcomes))
    judged = [(number, outcome) for number, outcome in numbered if outcome.verdict is not None]
    found: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "version": 1,
        "metadata": {
            "timestamp": now,
            "tools": {"components": [{"type": "application", "name": "onepixel", "version": __version__}]},
        },
        "components": [component(number, outcome) for number, outcome in numbered],
        "vulnerabilities": [vulnerability(number, outcome) for number, outcome in judged if outcome.trojaned],
    }
    if judged:
        found["declarations"] = {
            "assessors": [{"bom-ref": ASSESSOR, "thirdParty": True, "organization": {"name": "onepixel audit"}}],
            "claims": [claim(number, outcome) for number, outcome in judged],
            "evidence": [evidence(number, outcome, now) for number, outcome in judged],
        }
    return json.dumps(found, indent=2)


def component(number: int, outcome: Outcome) -> dict[str, Any]:
    """One model with its card."""
    verdict = outcome.verdict or {}
    metrics = [
        {"type": f"onepixel {key.replace('_', ' ')}", "value": str(verdict[key])}
        for key in ("score", "threshold", "p_value", "probability")
        if verdict.get(key) is not None
    ]
    card: dict[str, Any] = {"modelParameters": {"task": "image classification"}}
    if metrics:
        card["quantitativeAnalysis"] = {"performanceMetrics": metrics}
    found: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": f"model-{number}",
        "name": outcome.name,
        "modelCard": card,
        "properties": [{"name": "onepixel:decision", "value": outcome.decision}],
    }
    if outcome.reason:
        found["properties"].append({"name": "onepixel:reason", "value": outcome.reason})
    if outcome.sha256 is not None:
        found["hashes"] = [{"alg": "SHA-256", "content": outcome.sha256}]
    return found


def claim(number: int, outcome: Outcome) -> dict[str, Any]:
    """What is said of a model, and the evidence it rests on."""
    predicate = "Carries evidence of a backdoor." if outcome.trojaned else "No evidence of the attack families tested."
    return {
        "bom-ref": f"claim-{number}",
        "target": f"model-{number}",
        "predicate": predicate,
        "reasoning": outcome.sentence,
        "evidence": [f"evidence-{number}"],
    }


def evidence(number: int, outcome: Outcome, now: str) -> dict[str, Any]:
    """The verdict as it was given, without its pictures."""
    verdict = {key: value for key, value in (outcome.verdict or {}).items() if key != "exhibit"}
    content = {"attachment": {"contentType": "application/json", "content": json.dumps(verdict)}}
    return {
        "bom-ref": f"evidence-{number}",
        "propertyName": "onepixel:verdict",
        "description": outcome.sentence,
        "data": [{"name": "verdict", "contents": content}],
        "created": now,
    }


def vulnerability(number: int, outcome: Outcome) -> dict[str, Any]:
    """The backdoor of a trojaned model."""
    first, *others = REFERENCES
    return {
        "bom-ref": f"backdoor-{number}",
        "id": first.id,
        "source": {"name": first.source, "url": first.url},
        "references": [{"id": other.id, "source": {"name": other.source, "url": other.url}} for other in others],
        "ratings": [{"severity": "critical", "method": "other", "source": {"name": "onepixel"}}],
        "description": outcome.sentence,
        "detail": f"Most suspect: {suspect(outcome.verdict or {})}.",
        "recommendation": "Do not deploy the model; have it trained anew from data that you trust.",
        "affects": [{"ref": f"model-{number}"}],
    }
