"""Findings for other tools, opened by other people's readers: SARIF, JUnit, CycloneDX, JSON Schema."""

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from junitparser import JUnitXml

from onepixel.cli import main, several
from onepixel.findings import Outcome, bom, document, json_schema, junit, sarif

EXAMPLES = Path(__file__).parent.parent / "examples"
SARIF = json.loads((Path(__file__).parent / "schemas" / "sarif-2.1.0.json").read_text("utf-8"))
VERDICT = {
    "decision": "trojaned", "method": "population", "score": 1.25, "threshold": -0.01, "p_value": 0.0099,
    "probability": 0.93, "prior": 0.5, "target_class": 3, "source_classes": None, "class_scores": [0.1, 0.2],
    "pixel": [19, 2], "place": None, "detector": "statistics", "classifier": "m", "engine": "incremental",
    "queries": 100, "settings": {}, "families": [], "images": None, "exhibit": None, "assumptions": ["as you said"],
}  # fmt: skip
CLEAN = {**VERDICT, "decision": "no evidence of a backdoor", "score": -1.0}
OUTCOMES = [
    Outcome("models/a b\n\x1b[31m.onnx", 1, VERDICT, "", "0" * 64, 1.5),
    Outcome("c.pth", 0, CLEAN, "", "1" * 64, 0.5),
    Outcome("https://example.org/v2/models/x", 3, None, "It answers <nothing> & \x00.", None, 0.1),
]
IDENTIFIERS = {"AML.T0018", "AML.T0020", "ML10:2023"}


def test_sarif_is_valid_and_a_reader_finds_the_backdoor(tmp_path: Path) -> None:
    text = sarif(OUTCOMES)
    jsonschema.Draft4Validator(SARIF).validate(json.loads(text))
    assert "\x1b" not in text
    run = json.loads(text)["runs"][0]
    assert {taxon["id"] for taxon in run["results"][0]["taxa"]} == IDENTIFIERS
    path = tmp_path / "findings.sarif"
    path.write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "sarif", "--check", "error", "summary", str(path)], capture_output=True, text=True
    )
    assert done.returncode == 1, done.stderr
    assert "OP0001" in done.stdout


def test_junit_is_read_by_a_junit_parser() -> None:
    suites = JUnitXml.fromstring(junit(OUTCOMES).encode())
    assert (suites.tests, suites.failures, suites.errors) == (3, 1, 1)
    cases = [case for suite in suites for case in suite]
    assert [len(case.result) for case in cases] == [1, 0, 1]
    assert all(identifier in cases[0].result[0].text for identifier in IDENTIFIERS)


def test_bom_is_valid_cyclonedx_with_the_verdict_as_evidence() -> None:
    text = bom(OUTCOMES)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    found = json.loads(text)
    assert [part["type"] for part in found["components"]] == ["machine-learning-model"] * 3
    assert found["vulnerabilities"][0]["affects"] == [{"ref": "model-0"}]
    kept = json.loads(found["declarations"]["evidence"][0]["data"][0]["contents"]["attachment"]["content"])
    assert kept["score"] == VERDICT["score"]


@pytest.mark.parametrize("chosen", [OUTCOMES, OUTCOMES[:1], OUTCOMES[1:2], OUTCOMES[2:]])
def test_json_follows_the_published_schema(chosen: list[Outcome]) -> None:
    validator = jsonschema.Draft202012Validator(json_schema())
    validator.check_schema(json_schema())
    validator.validate(document(chosen, several=True))
    one = document(chosen, several=False)
    validator.validate(one)
    if chosen[0].trojaned:
        assert {reference["id"] for reference in one["references"]} == IDENTIFIERS
        with pytest.raises(jsonschema.ValidationError):
            validator.validate({**one, "score": "high"})


def test_the_worst_exit_status_counts() -> None:
    assert several.worst(OUTCOMES) == 1
    assert several.worst(OUTCOMES[1:]) == 3
    assert several.worst(OUTCOMES[1:2]) == 0


def test_models_that_cannot_be_read_are_findings_too(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("a.onnx", "b\nc.pth"):
        (folder / name).write_bytes(b"no model")
    (folder / "notes.txt").write_text("not a model")
    files = [tmp_path / name for name in ("f.sarif", "f.xml", "f.json")]
    options = ["--sarif", str(files[0]), "--junit", str(files[1]), "--bom", str(files[2]), "--quiet"]
    assert main(["audit", str(folder), *options]) == 3
    told = capsys.readouterr().out
    assert "2 models: 0 trojaned, 2 without a verdict" in told
    assert "b\\nc.pth" in told
    assert "\x1b" not in told, "no colour in a pipe"
    assert len(json.loads(files[0].read_text())["runs"][0]["artifacts"]) == 2
    assert main(["audit", str(folder / "a.onnx"), *options]) == 3
    assert JUnitXml.fromfile(str(files[1])).errors == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[[model]]\npath = "../outside.onnx"', "outside"),
        ('[[model]]\npath = "/etc/passwd"', "outside"),
        ('[[model]]\npath = "link.onnx"', "outside"),
        ('[[model]]\npath = "a.onnx"\nshell = "x"', "no setting shell"),
        ("[[model]]", "needs a path"),
        ("x = 1", "no manifest"),
        ("not toml", "no manifest"),
    ],
)
def test_a_manifest_neither_climbs_out_nor_guesses(tmp_path: Path, capsys, text: str, expected: str) -> None:
    folder = tmp_path / "inside"
    folder.mkdir()
    (tmp_path / "outside.onnx").write_bytes(b"")
    (folder / "link.onnx").symlink_to(tmp_path / "outside.onnx")
    (folder / "models.toml").write_text(text)
    assert main(["audit", str(folder / "models.toml")]) == 2
    assert expected in capsys.readouterr().err


def test_an_interrupted_run_continues(tmp_path: Path, monkeypatch) -> None:
    from onepixel.cli.options import Opening
    from onepixel.errors import UndecidedError

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    models = [Opening(str(tmp_path / name)) for name in ("a.onnx", "b.onnx", "c.onnx")]
    asked: list[str] = []

    def judge(opening: Opening):
        if len(asked) == 2:
            asked.append("stop")
            raise KeyboardInterrupt
        asked.append(opening.model)
        raise UndecidedError("no answer")

    with pytest.raises(KeyboardInterrupt):
        several.audit_all(models, judge, "the same command", quiet=True)
    outcomes = several.audit_all(models, judge, "the same command", quiet=True)
    assert [outcome.model for outcome in outcomes] == [opening.model for opening in models]
    assert asked == [models[0].model, models[1].model, "stop", models[2].model]
    assert not list((tmp_path / "state" / "onepixel").iterdir())


def test_colour_is_for_people_only(monkeypatch) -> None:
    from onepixel.cli.results import coloured

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert coloured("x", "trojaned").startswith("\x1b[")
    monkeypatch.setenv("NO_COLOR", "1")
    assert coloured("x", "trojaned") == "x"
