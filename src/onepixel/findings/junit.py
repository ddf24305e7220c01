"""JUnit XML, which every build server shows: one test case per model; a backdoor fails it, no verdict is an error."""

from collections.abc import Sequence
from xml.etree import ElementTree

from onepixel.findings.outcome import Outcome
from onepixel.findings.taxonomy import REFERENCES


def junit(outcomes: Sequence[Outcome]) -> str:
    """The text of a JUnit file with one suite."""
    failures = sum(outcome.trojaned for outcome in outcomes)
    errors = sum(outcome.verdict is None for outcome in outcomes)
    seconds = sum(outcome.seconds for outcome in outcomes)
    counts = {"tests": str(len(outcomes)), "failures": str(failures), "errors": str(errors), "time": f"{seconds:.3f}"}
    suites = ElementTree.Element("testsuites", {"name": "onepixel", **counts})
    suite = ElementTree.SubElement(suites, "testsuite", {"name": "onepixel audit", "skipped": "0", **counts})
    for outcome in outcomes:
        about = {"classname": "onepixel.audit", "name": legal(outcome.name), "time": f"{outcome.seconds:.3f}"}
        case = ElementTree.SubElement(suite, "testcase", about)
        if outcome.verdict is None:
            ElementTree.SubElement(case, "error", {"type": "could not decide", "message": legal(outcome.sentence)})
        elif outcome.trojaned:
            failure = ElementTree.SubElement(case, "failure", {"type": "trojaned", "message": legal(outcome.sentence)})
            failure.text = "\n".join(f"{reference.source}: {reference.id} {reference.name}" for reference in REFERENCES)
        else:
            ElementTree.SubElement(case, "system-out").text = legal(outcome.sentence)
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def legal(text: str) -> str:
    """Text without what XML cannot hold, escaped or not: control characters and halves of surrogate pairs."""
    return "".join(letter if letter.isprintable() or letter in "\t\n" else "?" for letter in text)
