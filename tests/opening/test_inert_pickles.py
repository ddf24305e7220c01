"""Pickles are read as data: nothing in one is ever imported, called or built, whatever it is made of."""

import builtins
import io
import pickle
import random
import sys
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from onepixel.errors import OnepixelError
from onepixel.opening.inert import Built, InertReader, Named, PickleError
from onepixel.opening.torch_pickle import CALLS, read_torch_file
from onepixel.opening.weights import find_weights
from opening import model_files
from opening.model_files import PAYLOADS, Payload, network


def read(contents: bytes) -> Any:
    return InertReader(io.BytesIO(contents), CALLS, lambda identity: identity).read()


PLAIN = [
    {"a": [1, 2.5, None, True, "x", b"y"], "b": (1, (2, [3])), 3: {"deep": [{}]}},
    [10**30, -1, 1e300, "é\n", b"\x00" * 300, "x" * 300],
    (),
    ((1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)),
    OrderedDict([("b", 1), ("a", 2)]),
]


@pytest.mark.parametrize("protocol", range(6))
def test_plain_data_is_read_as_pickle_itself_reads_it(protocol: int) -> None:
    for value in PLAIN:
        assert read(pickle.dumps(value, protocol)) == value
    shared = [1]
    first, second = read(pickle.dumps([shared, shared], protocol))
    assert first is second


@pytest.mark.parametrize("style", PAYLOADS)
def test_payloads_become_records(style: str, marker: Path) -> None:
    reader = InertReader(io.BytesIO(PAYLOADS[style](marker)), CALLS)
    content = reader.read()
    assert not marker.exists()
    record = content["extra"] if isinstance(content, dict) else content
    assert isinstance(record, Built)
    assert isinstance(record.of, Named)
    assert any(name.endswith(("exec", "system")) for name in reader.skipped)


class Everything:
    """Uses every hook that unpickling has."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        payload = Payload(self.marker)
        return Named, ("a", "b"), {"x": payload}, iter([payload]), iter([("k", eval)]), print


def test_nothing_is_imported_called_or_built(marker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = [
        pickle.dumps(Everything(marker), 4),
        # An import that would be seen, by each instruction that names something.
        b"cthis_module_does_not_exist\nrun\n)R.",
        b"(ithis_module_does_not_exist\nrun\n.",
        b"\x80\x04\x8c\x1athis_module_does_not_exist\x8c\x03run\x93)\x81}b.",
        # Calls of what a call gave, and of what an instance is.
        b"cbuiltins\ngetattr\n(cos\nS'system'\ntR(S'touch x'\ntR.",
        b"c__builtin__\neval\n(S'1/0'\ntR)R)R}b.",
        # A nested pickle, for whoever would unpickle it in turn.
        b"c_pickle\nloads\n(" + pickle.dumps(PAYLOADS["reduce"](marker), 0)[:-1] + b"tR.",
        b"c__builtin__\napply\n(cos\nsystem\n(S'touch x'\nttR.",
        b"\x80\x02\x82\x05.",
    ]
    before = set(sys.modules)

    def never(*names: object, **_: object) -> None:
        raise AssertionError(f"imported {names[0]}")

    with monkeypatch.context() as patched:
        patched.setattr(builtins, "eval", never)
        patched.setattr(builtins, "__import__", never)
        found = [read(content) for content in contents]
    assert not marker.exists()
    assert all(isinstance(each, Built | Named) for each in found)
    assert set(sys.modules) == before


@pytest.mark.parametrize(
    "contents",
    [
        b"",
        b".",
        b"(",
        b"]a.",
        b"N(K\x01u.",
        b"}]K\x01s." + b"x",
        b"0.",
        b"h\x05.",
        b"\x85.",
        b"K\x01K\x02R.",
        b"]}K\x01K\x02sa.",
        b"\x97.",
        b"Q.",
        b"ctorch._utils\n_rebuild_tensor_v2\n(K\x01K\x02K\x03tR.",
        b"cnumpy\ndtype\n(S'q9'\ntR.",
        b"cnumpy.core.multiarray\nscalar\n(K\x01K\x02tR.",
        b"c_codecs\nencode\n(K\x01tR.",
        b"ctorch._tensor\n_rebuild_from_type_v2\n(K\x01K\x02K\x03K\x04tR.",
    ],
)
def test_damaged_pickles_end_with_one_error(contents: bytes) -> None:
    try:
        found = read(contents)
    except PickleError:
        return
    assert found is None or isinstance(found, Built | list | dict | tuple | int)


def test_deep_and_doubling_pickles_cost_little() -> None:
    start = time.monotonic()
    read(b"]" + b"]" * 50_000 + b"a" * 50_000 + b".")
    read(b")" + b"\x85" * 50_000 + b".")
    # Each list holds the one before it twice: 2^200 when walked, 200 lists in memory.
    doubling = b"]" + b"q\x00]h\x00ah\x00a" * 200 + b"."
    assert find_weights(read(doubling)) == []
    deep_key = b"})" + b"\x85" * 50_000 + b"K\x01s."
    assert list(read(deep_key).values()) == [1]
    assert time.monotonic() - start < 60


def test_tensors_beyond_their_data_are_refused(tmp_path: Path) -> None:
    good = tmp_path / "good"
    torch.save({"w": torch.arange(6.0).view(2, 3), "t": torch.arange(6.0).view(2, 3).T, "e": torch.zeros(0, 3)}, good)
    found: Any = read_torch_file(good.open("rb")).content
    assert found["w"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found["t"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert found["e"].shape == (0, 3)
    storage = b"(S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nK%ctQ"
    rebuild = b"ctorch._utils\n_rebuild_tensor_v2\n(%sK%c(K%ctK%c\x85\x89NtR."
    for count, offset, size, step in ((7, 0, 6, 1), (6, 1, 6, 1), (6, 0, 6, 2), (6, 0, 255, 1)):
        pickled = rebuild % (storage % count, offset, size, step)
        spoilt = model_files.with_entry(good, tmp_path / "bad", "data.pkl", pickled)
        with pytest.raises(PickleError, match="larger than its data"):
            read_torch_file(spoilt.open("rb"))
    repeated = b"ctorch._utils\n_rebuild_tensor_v2\n(%sK\x00(M\xff\xffM\xff\xfft(K\x00K\x00t\x89NtR." % (storage % 6)
    spoilt = model_files.with_entry(good, tmp_path / "bad", "data.pkl", repeated)
    with pytest.raises(PickleError, match="larger than its data"):
        read_torch_file(spoilt.open("rb"))


def test_random_damage_never_crashes_the_reader(tmp_path: Path) -> None:
    torch.save(
        {"net": network(), "args": Payload(tmp_path / "x")}, tmp_path / "m", _use_new_zipfile_serialization=False
    )
    contents, chance = (tmp_path / "m").read_bytes(), random.Random(0)
    pickled = 6000
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        spoilt = bytearray(contents)
        for _ in range(chance.choice((1, 3, 10))):
            spoilt[chance.randrange(pickled)] = chance.randrange(256)
        try:
            loaded = read_torch_file(io.BytesIO(bytes(spoilt)))
            find_weights(loaded.content)
        except OnepixelError:
            pass
    assert not (tmp_path / "x").exists()
