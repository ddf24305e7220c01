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
from onepixel.cli.options import Opening
from onepixel.cli.task import Asking, Task
from onepixel.errors import UndecidedError
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
        ('[[model]]\npath = "a.onnx"\nimages = "../photos"', "outside"),
        ('[[model]]\npath = "a.onnx"\ndetector = "../own.safetensors"', "outside"),
        ('[[model]]\npath = "a.onnx"\narchitecture = "os:abort"', "is code"),
        ('[defaults]\njournal = "/tmp/x"\n[[model]]\npath = "a.onnx"', "no setting journal"),
        ('[[model]]\npath = "a.onnx"\nbudget = "many"', "budget cannot be many"),
        ('[[model]]\npath = "a.onnx"\nresize = 1', "resize cannot be 1"),
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


def test_a_manifest_says_of_each_model_by_what_it_is_judged(tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text(
        '[defaults]\nimages = "photos"\ninput_shape = [1, 28, 28]\nsandbox = false\n'
        '[[model]]\npath = "a.onnx"\nprior = 0.1\n[[model]]\npath = "b.onnx"\ndetector = "fashion-lenet5"\n'
    )
    usual = Task(Opening(str(tmp_path / "models.toml"), sandbox=True, outputs="logits"), Asking(budget=5000))
    first, second = several.several(usual, []) or []
    assert first.model == str(tmp_path / "a.onnx")
    assert (first.opening.input_shape, first.opening.outputs, first.opening.sandbox) == ("1,28,28", "logits", True)
    assert first.asking == Asking(images=str(tmp_path / "photos"), prior=0.1, budget=5000)
    assert second.asking.detector == "fashion-lenet5"


def test_a_folder_of_folders_is_many_models_and_a_models_own_folder_is_one(tmp_path: Path) -> None:
    for name in ("id-2", "id-1", "notes"):
        (tmp_path / name).mkdir()
        (tmp_path / name / ("readme.txt" if name == "notes" else "model.pt")).write_text("")
    (tmp_path / ".hidden.onnx").write_text("")
    (tmp_path / "optimizer.pt").write_text("")
    assert [Path(task.model).name for task in several.several(Task(Opening(str(tmp_path))), []) or []] == [
        "id-1",
        "id-2",
    ]
    (tmp_path / "id-1" / "more.onnx").write_text("")
    (tmp_path / "id-1" / "clean-example-data").mkdir()
    assert several.several(Task(Opening(str(tmp_path / "id-1"))), []) is None


class Found:
    """Stands for a verdict."""

    exit_status = 1

    def __init__(self, text: str) -> None:
        self.text = text

    def to_dict(self) -> dict:
        return VERDICT

    def report(self, path: Path) -> None:
        path.write_text(self.text)

    picture = report


def test_an_interrupted_run_continues(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    models = [Task(Opening(str(tmp_path / name))) for name in ("a.onnx", "b.onnx", "c.onnx", "d.onnx")]
    asked: list[str] = []

    def judge(task: Task):
        asked.append(Path(task.model).name)
        if asked == ["a.onnx", "b.onnx", "c.onnx"]:
            raise KeyboardInterrupt
        if task is models[0]:
            raise UndecidedError("no answer")
        if task is models[3]:
            raise ZeroDivisionError("a bug")
        return Found(task.model)

    folders = {"report": tmp_path / "reports", "picture": tmp_path / "reports"}
    (tmp_path / "reports").mkdir()
    with pytest.raises(KeyboardInterrupt):
        several.audit_all(models, judge, quiet=True, **folders)
    (tmp_path / "a.onnx").write_text("is another one now")
    outcomes = several.audit_all(models, judge, quiet=True, **folders)
    assert [outcome.model for outcome in outcomes] == [task.model for task in models]
    assert [outcome.exit_status for outcome in outcomes] == [3, 1, 1, 4]
    assert asked == ["a.onnx", "b.onnx", "c.onnx", "a.onnx", "c.onnx", "d.onnx"]
    assert not list((tmp_path / "state" / "onepixel").iterdir())
    assert "a bug" in outcomes[3].reason
    names = sorted(path.name for path in (tmp_path / "reports").iterdir())
    assert names == ["b.onnx.html", "b.onnx.png", "c.onnx.html", "c.onnx.png"]


def test_reports_of_several_models_have_names_of_their_own(tmp_path: Path, capsys) -> None:
    assert list(several.file_names(["x/m.pt", "y/m.pt", "z/..", "a/\n<b>.onnx", "hf://o/n/"])) == [
        "m.pt", "m.pt-2", "model", "__b_.onnx", "n",
    ]  # fmt: skip
    (tmp_path / "file").write_text("")
    words = ["audit", str(tmp_path / "a.onnx"), str(tmp_path / "b.onnx"), "--report", str(tmp_path / "file")]
    assert main(words) == 2
    assert "name folders" in capsys.readouterr().err


def test_colour_is_for_people_only(monkeypatch) -> None:
    from onepixel.cli.results import coloured

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert coloured("x", "trojaned").startswith("\x1b[")
    monkeypatch.setenv("NO_COLOR", "1")
    assert coloured("x", "trojaned") == "x"
