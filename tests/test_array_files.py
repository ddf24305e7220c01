"""Files of arrays and facts from a stranger: what a header says is read as it should be, or said to be damaged."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from onepixel import Signature
from onepixel.errors import UndecidedError
from onepixel.reaches import Reach, Response

Kind = type[Reach] | type[Response] | type[Signature]


def some(kind: Kind) -> Reach | Response | Signature:
    one, table = np.zeros(1, dtype=np.int64), np.zeros((1, 1), dtype=np.float32)
    place, filling = np.zeros((1, 4), dtype=np.int64), np.zeros((1, 1, 2, 2), dtype=np.float32)
    if kind is Signature:
        return Signature(np.zeros((1, 2, 2)), np.zeros((1, 2, 2)), np.zeros(1), details={"seconds": 1})
    if kind is Response:
        return Response(one, place, table[..., None], table[..., None], table, filling)
    return Reach(one, one, one, one, place, table[0], table[0], table[0], table, filling, details={"seconds": 1})


def mutated(
    kind: Kind, folder: Path, *, entry: str = "about", arrays: dict[str, Any] | None = None, **facts: Any
) -> Path:
    """A file of a value of which some facts of an entry of the header, or arrays, are others."""
    path = folder / "value.safetensors"
    some(kind).save(path)
    with safe_open(path, "np") as file:
        header, held = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    header[entry] = json.dumps(json.loads(header[entry]) | facts)
    save_file(held | (arrays or {}), path, header)
    return path


@pytest.mark.parametrize("kind", [Reach, Response, Signature])
@pytest.mark.parametrize(
    ("fact", "value"),
    [
        ("queries", "many"),
        ("queries", 1.5),
        ("queries", True),
        ("queries", None),
        ("classifier", 3),
        ("classifier", ["a", "b"]),
        ("format", "onepixel-reach-1"),
        ("low", [1, 2]),
        ("base", [[1.0]]),
    ],
)
def test_a_fact_of_another_type_or_name_is_damage(kind: Kind, fact: str, value: Any, tmp_path: Path) -> None:
    with pytest.raises(UndecidedError, match="is damaged"):
        kind.load(mutated(kind, tmp_path, **{fact: value}))


@pytest.mark.parametrize(
    ("kind", "entry", "fact", "value"),
    [
        (Reach, "about", "alpha", "1"),
        (Reach, "about", "alpha", None),
        (Reach, "about", "family", 5),
        (Reach, "about", "search", {}),
        (Reach, "about", "details", []),
        (Reach, "about", "details", "seconds"),
        (Response, "about", "probe", False),
        (Signature, "about", "note", 1),
        (Signature, "about", "engine", []),
        (Signature, "about", "details", 2),
        (Signature, "about", "settings", {}),
        (Signature, "settings", "values", "256"),
        (Signature, "settings", "inclusive", 1),
        (Signature, "settings", "default_image", 0),
        (Signature, "settings", "outputs", None),
    ],
)
def test_a_fact_that_only_one_kind_has_is_checked_as_well(
    kind: Kind, entry: str, fact: str, value: Any, tmp_path: Path
) -> None:
    with pytest.raises(UndecidedError, match="is damaged"):
        kind.load(mutated(kind, tmp_path, entry=entry, **{fact: value}))


@pytest.mark.parametrize("kind", [Reach, Response, Signature])
@pytest.mark.parametrize("number", ["complex64", "int64", "bool", "uint8"])
def test_an_array_of_other_numbers_is_damage(kind: Kind, number: str, tmp_path: Path) -> None:
    base = some(kind).base.astype(number)
    with pytest.raises(UndecidedError, match="is damaged"):
        kind.load(mutated(kind, tmp_path, arrays={"base": base}))


def test_a_whole_number_is_a_float_and_facts_that_are_not_there_have_their_defaults(tmp_path: Path) -> None:
    path = mutated(Reach, tmp_path, alpha=1)
    with safe_open(path, "np") as file:
        header, arrays = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    facts = json.loads(header["about"])
    del facts["search"], arrays["rival"]
    save_file(arrays, path, header | {"about": json.dumps(facts)})
    found = Reach.load(path)
    assert (found.alpha, found.search, found.details) == (1, "", {"seconds": 1})
    assert np.isnan(found.rival).all()


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ("onepixel-reach-2", "holds a reach of another version: onepixel-reach-2, where onepixel-reach-1 is read"),
        ("onepixel-reach-\n\x1b[2J", r"of another version: onepixel-reach- \?\[2J, where"),
        ("onepixel-response-1", "holds no reach"),
        ("", "holds no reach"),
    ],
)
def test_another_format_or_version_is_said_in_one_line(form: str, sentence: str, tmp_path: Path) -> None:
    save_file({"base": np.zeros(2)}, tmp_path / "value.safetensors", {"format": form})
    with pytest.raises(UndecidedError, match=sentence):
        Reach.load(tmp_path / "value.safetensors")
