"""Findings for other tools: the outcome of audits as SARIF, JUnit, a CycloneDX ML-BOM and JSON with a schema.

Nothing here is sent anywhere; each module turns outcomes into the text of one file.
"""

from onepixel.findings.bom import bom
from onepixel.findings.documents import document, json_schema
from onepixel.findings.junit import junit
from onepixel.findings.outcome import Outcome
from onepixel.findings.sarif import sarif

WRITERS = {"sarif": sarif, "junit": junit, "bom": bom}
"""Each format by the option that asks for it: outcomes in, the text of a file out."""

__all__ = ["WRITERS", "Outcome", "bom", "document", "json_schema", "junit", "sarif"]
