"""Tables: rows stand in the files of a folder, nothing is imported early, and messages name what there is."""

import doctest
import subprocess
import sys
from dataclasses import dataclass

import pytest

from onepixel import registry
from onepixel.architectures import ARCHITECTURES
from onepixel.datasets import DATASETS
from onepixel.errors import UsageError
from onepixel.registry import Table


@dataclass(frozen=True)
class Row:
    name: str


FILES = {
    "__init__": "",
    "table": "from onepixel.registry import Table\nTABLE = Table('thing', 'things_to_add')\n",
    "one": "from types import SimpleNamespace\nfrom things_to_add.table import TABLE\n"
    "TABLE.add(SimpleNamespace(name='one'))\n",
    "others": "from types import SimpleNamespace\nfrom things_to_add.table import TABLE\n"
    "for name in ('two', 'three'):\n    TABLE.add(SimpleNamespace(name=name))\n",
}


@pytest.fixture
def table(tmp_path, monkeypatch):
    folder = tmp_path / "things_to_add"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    from things_to_add.table import TABLE

    yield TABLE
    for name in [name for name in sys.modules if name.partition(".")[0] == "things_to_add"]:
        del sys.modules[name]


def test_a_row_asked_for_by_its_file_imports_that_file_only(table):
    assert table["one"].name == "one"
    assert "things_to_add.others" not in sys.modules


def test_a_row_of_a_file_with_another_name_is_found_too(table):
    assert table["three"].name == "three"


def test_names_and_rows_are_those_of_all_files_in_order(table):
    assert list(table) == ["one", "three", "two"]
    assert [row.name for row in table.rows()] == ["one", "three", "two"]
    assert len(table) == 3


def test_a_missing_name_is_an_error_that_says_what_was_asked_for_and_what_there_is(table):
    with pytest.raises(UsageError, match=r"Expected one of one, three, two for thing but got 'four'\."):
        table["four"]
    assert "four" not in table


@pytest.mark.parametrize("name", ["", "../one", "__init__", "os.path", "one.two"])
def test_a_name_that_is_no_name_of_a_file_is_just_missing(table, name):
    assert name not in table


def test_two_rows_of_one_name_are_refused():
    table = Table[Row]("thing")
    table.add(Row("one"))
    with pytest.raises(ValueError, match="two rows named 'one'"):
        table.add(Row("one"))


def test_a_file_that_fails_fails_again_when_asked_again(table, tmp_path):
    (tmp_path / "things_to_add" / "broken.py").write_text("raise RuntimeError('broken')\n")
    for _ in range(2):
        with pytest.raises(RuntimeError, match="broken"):
            list(table)


def test_the_tables_hold_the_papers_architectures_and_data_sets():
    assert {"lenet5", "resnet8", "alexnet", "vgg10", "six_plus_two", "resnet50"} <= set(ARCHITECTURES)
    assert {"digits", "mnist", "fashion_mnist"} <= set(DATASETS)


def test_importing_onepixel_imports_no_table_and_not_torch():
    code = "import sys, onepixel; print([name for name in sys.modules if name in ('torch', 'onepixel.registry')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_example_in_the_documentation_of_tables_holds():
    assert doctest.testmod(registry).failed == 0
