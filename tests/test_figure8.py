"""The experiment of ICLR appendix A.2, in small."""

import csv
import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onepixel.errors import UsageError
from onepixel.experiments import figure8
from onepixel.signatures import DEFINITIONS, Signature


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[figure8.Likeness]]:
    folder = tmp_path_factory.mktemp("figure8") / "results"
    return folder, figure8.EXPERIMENT.run(folder, dataset="digits", images=300, values=4)


def test_figure8_leaves_a_picture_a_table_and_a_page_that_says_how(
    finished: tuple[Path, list[figure8.Likeness]],
) -> None:
    folder, _ = finished
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "figure8.png", "similarity.csv"]
    assert Image.open(folder / "figure8.png").format == "PNG"
    page = (folder / "README.md").read_text()
    command = "onepixel experiment figure8 --seed 0 --dataset digits --images 300 --values 4"
    for said in (command, "the tree and AdaBoost over trees of depth 8 are", "date:", "cost:", "machine:", "versions:"):
        assert said in page, said


def test_figure8_compares_every_pair_and_every_repeated_kind_under_every_definition(
    finished: tuple[Path, list[figure8.Likeness]],
) -> None:
    folder, rows = finished
    names = [*figure8.estimators(np.eye(2, dtype=np.float32), 0), "digits_cnn"]
    expected = {(*pair, d) for pair in itertools.combinations(names, 2) for d in DEFINITIONS}
    expected |= {(name, f"{name}, other images", d) for name in figure8.REPEATED for d in DEFINITIONS}
    assert {(row.first, row.second, row.definition) for row in rows} == expected
    assert len(rows) == len(expected)
    with (folder / "similarity.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(expected)
    known = np.array([row.correlation for row in rows])
    assert (np.abs(known[np.isfinite(known)]) <= 1 + 1e-9).all()


def test_boosting_full_grown_trees_stops_after_the_first(finished: tuple[Path, list[figure8.Likeness]]) -> None:
    page = (finished[0] / "README.md").read_text()
    line = next(line for line in page.splitlines() if line.startswith(f"| {figure8.BOOSTED_FULL} |"))
    assert line.endswith("1 tree(s) |")


def test_a_data_set_that_is_too_small_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="too few"):
        figure8.EXPERIMENT.run(tmp_path / "results", dataset="digits", images=5000)
    assert not (tmp_path / "results").exists()


def test_correlation_is_pearsons_and_undefined_for_a_constant() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3, 4, 5))
    assert figure8.correlation(a, b) == pytest.approx(np.corrcoef(a.ravel(), b.ravel())[0, 1])
    assert figure8.correlation(a, 2 * a + 1) == pytest.approx(1)
    assert np.isnan(figure8.correlation(a, np.ones_like(a)))


def test_likeness_within_a_class_ignores_how_probable_the_class_is() -> None:
    rng = np.random.default_rng(1)
    base = np.array([-4.0, 0.0, 2.0])
    noise = rng.random((2, 3, 6, 6))
    one, other = (Signature(base[:, None, None] - n, base[:, None, None] + n, base) for n in noise)
    found = {row.definition: row for row in figure8.likeness("one", one, "other", other)}
    assert found["max"].correlation > 0.9
    assert abs(found["max"].within_class) < 0.5
