"""Every engine against the definition computed one image at a time: (engine x classifier x definition x default image).

A new engine is one new row in `EXACT_ENGINES`.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import onepixel
from examples import BLACK_BOXES, NETWORKS, Counting, a_few_pixels, default_image, example
from onepixel import Signature
from onepixel.classifiers import ModuleClassifier, to_log_odds
from onepixel.errors import AnswerError, BudgetError, ExactnessError, UsageError
from onepixel.signatures import DEFINITIONS, ENGINES, Plan, value_grid
from onepixel.signatures.exhaustive import exhaustive
from onepixel.signatures.plan import pixel_mask
from reference import REFERENCES

VALUES = 6


class EngineRow(NamedTuple):
    """An exact engine and the classifiers it takes."""

    engine: str
    classifiers: tuple[str, ...]


EXACT_ENGINES = [
    EngineRow("exhaustive", NETWORKS + BLACK_BOXES),
    EngineRow("incremental", NETWORKS),
    EngineRow("auto", NETWORKS + BLACK_BOXES),
]
ENGINE_TABLE = [(row.engine, name) for row in EXACT_ENGINES for name in row.classifiers]
DEFAULT_IMAGES = ("black", "white", "noise")


def ask_in_numpy(name: str, dtype: torch.dtype, unit: str):
    """The classifier of that row as a NumPy function that answers in probabilities or in log-odds."""
    classifier = example(name, dtype)

    def answer(images: NDArray[np.floating]) -> NDArray[np.floating]:
        answers = classifier(torch.as_tensor(images).to(dtype if name in NETWORKS else torch.float32))
        if unit == "log_odds":
            return to_log_odds(answers, classifier.outputs).numpy()
        return (answers.softmax(1) if classifier.outputs == "logits" else answers).numpy()

    return answer


@cache
def computed(engine: str, name: str, kind: str, dtype: torch.dtype) -> Signature:
    classifier = example(name, dtype)
    shape = classifier.input_shape
    image = default_image(kind, shape)
    return onepixel.signature(
        classifier, values=VALUES, default_image=image, pixels=a_few_pixels(shape), engine=engine, batch_size=16
    )


@cache
def by_definition(name: str, kind: str, dtype: torch.dtype, definition: str) -> NDArray[np.floating]:
    shape = example(name, dtype).input_shape
    image = np.broadcast_to(default_image(kind, shape), shape).astype(np.float32)
    pixels = [(int(row), int(column)) for row, column in np.argwhere(a_few_pixels(shape))]
    answer = ask_in_numpy(name, dtype, "log_odds" if definition.startswith("log_odds") else "probabilities")
    return REFERENCES[definition](answer, image, value_grid(VALUES), pixels)


def assert_agrees(found: Signature, expected: NDArray[np.floating], definition: str, tolerance: float) -> None:
    """Within the tolerance; where a definition chooses between two candidates that tie, the other one counts too."""
    values = found.values(definition)[:, found.visited]
    base = found.base.astype(np.float64)[:, None]
    low, high = (1 / (1 + np.exp(-odds[:, found.visited].astype(np.float64))) for odds in (found.low, found.high))
    base_p = 1 / (1 + np.exp(-base))
    tied = np.zeros_like(low, dtype=bool)
    if definition in ("largest_change", "change"):
        tied = np.abs((high - base_p) - (base_p - low)) <= 2 * tolerance
    if definition == "algorithm1":
        tied = np.abs(high - 2 * base_p) <= 3 * tolerance
    shift = base_p if definition == "change" else 0
    other = {"largest_change": low, "change": low - shift, "algorithm1": np.zeros_like(low)}.get(definition, values)
    near = np.abs(values - expected) <= tolerance
    near |= tied & ((np.abs(expected - other) <= tolerance) | (np.abs(expected - (high - shift)) <= tolerance))
    assert near.all(), f"{definition}: largest difference {np.abs(values - expected).max():.3g}"


@pytest.mark.parametrize("kind", DEFAULT_IMAGES)
@pytest.mark.parametrize("definition", DEFINITIONS)
@pytest.mark.parametrize(("engine", "name"), ENGINE_TABLE)
def test_engine_equals_definition_in_float64(engine: str, name: str, definition: str, kind: str) -> None:
    # Probabilities are kept inside [1e-7, 1 - 1e-7] by design; a change is the difference of two of them.
    tolerance = 1e-9 if name in NETWORKS else 2.01e-7
    expected = by_definition(name, kind, torch.float64, definition)
    assert_agrees(computed(engine, name, kind, torch.float64), expected, definition, tolerance)


@pytest.mark.parametrize("definition", ["max", "largest_change", "algorithm1", "change"])
@pytest.mark.parametrize(("engine", "name"), [row for row in ENGINE_TABLE if row[1] in NETWORKS])
def test_engine_equals_definition_in_float32(engine: str, name: str, definition: str) -> None:
    expected = by_definition(name, "noise", torch.float32, definition)
    assert_agrees(computed(engine, name, "noise", torch.float32), expected, definition, 1e-6)


@pytest.mark.parametrize(("engine", "name"), ENGINE_TABLE)
def test_pixels_that_were_not_visited_are_nan_and_only_those(engine: str, name: str) -> None:
    found = computed(engine, name, "black", torch.float64)
    mask = a_few_pixels(example(name).input_shape)
    for array in (found.low, found.high, *(found.values(definition) for definition in DEFINITIONS)):
        assert np.isnan(array[:, ~mask]).all()
        assert np.isfinite(array[:, mask]).all()
    assert (found.visited == mask).all()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("where", [(3, 4), (3, slice(None)), (slice(None), 5), (slice(2, 6), slice(2, 6))])
@pytest.mark.parametrize("engine", [row.engine for row in EXACT_ENGINES])
def test_exact_engine_takes_a_mask_of_one_pixel_one_row_one_column_and_the_middle(
    engine: str, where: tuple[int | slice, int | slice], threads: int
) -> None:
    classifier = example("digits_cnn")
    mask = np.zeros((8, 8), dtype=bool)
    mask[where] = True
    try:
        torch.set_num_threads(threads)
        found = onepixel.signature(classifier, values=4, pixels=mask, engine=engine)
    finally:
        torch.set_num_threads(1)
    exact = onepixel.signature(classifier, values=4, pixels=mask, engine="exhaustive")
    np.testing.assert_allclose(found.high, exact.high, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.low, exact.low, rtol=0, atol=1e-9)


def test_table_covers_every_exact_engine() -> None:
    assert set(ENGINES) - {"adaptive"} <= {row.engine for row in EXACT_ENGINES}


def test_value_grid_is_v_over_v_and_never_reaches_one() -> None:
    assert value_grid(4).tolist() == [0.0, 0.25, 0.5, 0.75]
    assert value_grid().shape == (256,)
    assert value_grid().max() == np.float32(255 / 256)


def test_inclusive_value_grid_ends_at_one() -> None:
    assert value_grid(5, inclusive=True).tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize("values", [1, 0, -3])
def test_value_grid_needs_two_values(values: int) -> None:
    with pytest.raises(UsageError, match=f"at least 2 values but got {values}"):
        value_grid(values)


def test_inclusive_grid_reaches_signature_and_its_settings() -> None:
    classifier = example("digits_cnn")
    mask = a_few_pixels(classifier.input_shape)
    found = onepixel.signature(classifier, values=5, inclusive=True, pixels=mask, engine="exhaustive")
    pixels = [(int(row), int(column)) for row, column in np.argwhere(mask)]
    black = np.zeros(classifier.input_shape, dtype=np.float32)
    answer = ask_in_numpy("digits_cnn", torch.float64, "probabilities")
    expected = REFERENCES["max"](answer, black, value_grid(5, inclusive=True), pixels)
    assert_agrees(found, expected, "max", 1e-9)
    assert found.settings.inclusive


def test_stride_visits_every_s_th_row_and_column_from_the_first() -> None:
    mask = pixel_mask(3, 7, 8)
    assert np.argwhere(mask).tolist() == [[row, column] for row in (0, 3, 6) for column in (0, 3, 6)]
    assert pixel_mask(None, 2, 3).all()
    assert pixel_mask(1, 2, 3).all()
    assert pixel_mask(9, 2, 3).sum() == 1


def test_stride_leaves_the_visited_pixels_as_they_are() -> None:
    classifier = example("digits_cnn")
    whole = onepixel.signature(classifier, values=4, engine="exhaustive")
    strided = onepixel.signature(classifier, values=4, pixels=3, engine="exhaustive")
    mask = pixel_mask(3, 8, 8)
    assert (strided.visited == mask).all()
    np.testing.assert_allclose(strided.high[:, mask], whole.high[:, mask], rtol=0, atol=1e-9)
    np.testing.assert_allclose(strided.low[:, mask], whole.low[:, mask], rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (0, "at least 1 but got 0"),
        (-2, "at least 1 but got -2"),
        (np.zeros((8, 8), dtype=bool), "visits no pixel"),
        (np.ones((8, 7), dtype=bool), r"\(8, 8\) but got bool \(8, 7\)"),
        (np.ones((8, 8)), r"boolean mask of shape \(8, 8\) but got float64"),
        (True, "boolean mask"),
        (2.5, "boolean mask"),
    ],
)
def test_pixels_that_make_no_sense_are_refused(pixels: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        onepixel.signature(example("digits_cnn"), pixels=pixels)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (1.5, r"must lie in \[0, 1\]"),
        (-0.1, r"must lie in \[0, 1\]"),
        (float("nan"), r"must lie in \[0, 1\]"),
        (np.zeros((8, 8)), r"shape \(1, 8, 8\) but got \(8, 8\)"),
        (np.full((1, 8, 8), 255.0), r"must lie in \[0, 1\]"),
    ],
)
def test_default_images_that_make_no_sense_are_refused(image: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        onepixel.signature(example("digits_cnn"), default_image=image)  # type: ignore[arg-type]


@pytest.mark.parametrize("batch_size", [0, -1])
def test_batch_size_below_one_is_refused(batch_size: int) -> None:
    with pytest.raises(UsageError, match="batch size is at least 1"):
        onepixel.signature(example("digits_cnn"), batch_size=batch_size)


def test_unknown_engine_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"Expected one of auto, exhaustive.*'quick'"):
        onepixel.signature(example("digits_cnn"), engine="quick")


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_exhaustive_asks_every_cell_once_and_no_call_exceeds_the_batch_size(batch_size: int) -> None:
    counting = Counting(example("digits_cnn"))
    found = onepixel.signature(counting, values=5, pixels=2, batch_size=batch_size, engine="exhaustive")
    assert max(counting.calls) <= batch_size
    assert sum(counting.calls) == found.queries == 16 * 5 + 1
    # One image is asked as often as it occurs: black at value 0 is the default image at all 16 pixels.
    assert len(set(counting.images)) == 16 * 4 + 1


def test_batch_size_does_not_change_the_signature() -> None:
    classifier = example("digits_cnn")
    one, many = (onepixel.signature(classifier, values=4, batch_size=size, engine="exhaustive") for size in (1, 300))
    np.testing.assert_allclose(one.high, many.high, rtol=0, atol=1e-9)
    np.testing.assert_allclose(one.low, many.low, rtol=0, atol=1e-9)


def test_automatic_batches_hold_at_most_32_mib_whatever_v_is() -> None:
    calls: list[int] = []

    def constant(images: NDArray[np.float32]) -> NDArray[np.float32]:
        calls.append(images.nbytes)
        return np.full((len(images), 2), 0.5, dtype=np.float32)

    classifier = onepixel.as_classifier(constant, input_shape=(3, 256, 256))
    mask = np.zeros((256, 256), dtype=bool)
    mask[0, :3] = True
    for values in (64, 256):
        calls.clear()
        onepixel.signature(classifier, values=values, pixels=mask)
        assert max(calls) <= 32 * 2**20


def test_exhaustive_reports_every_pixel_once_to_progress() -> None:
    classifier = example("digits_cnn")
    black = np.zeros((1, 8, 8), dtype=np.float32)
    plan = Plan.make(classifier, value_grid(5), black, np.ones((8, 8), dtype=bool), 7)
    steps: list[int] = []
    exhaustive(classifier, plan, steps.append)
    assert sum(steps) == 64
    assert min(steps) >= 0


@pytest.mark.parametrize("engine", ["exhaustive", "auto"])
def test_exact_engine_raises_before_asking_when_the_budget_is_too_small(engine: str) -> None:
    counting = Counting(example("digits_cnn"))
    with pytest.raises(BudgetError, match=r"needs 321 queries.*budget is 320.*adaptive") as raised:
        onepixel.signature(counting, values=5, budget=320, engine=engine)
    assert raised.value.exit_status == 3
    assert counting.calls == []


def test_exhaustive_runs_within_a_budget_that_suffices() -> None:
    assert onepixel.signature(example("digits_cnn"), values=5, budget=321, engine="exhaustive").queries == 321


@pytest.mark.parametrize("budget", [0, -5])
def test_budget_below_one_is_refused(budget: int) -> None:
    with pytest.raises(UsageError, match=f"budget of queries is at least 1 but got {budget}"):
        onepixel.signature(example("digits_cnn"), budget=budget)


def test_nan_on_the_way_is_an_error_and_never_a_number() -> None:
    def nan_when_bright(images: NDArray[np.float32]) -> NDArray[np.float32]:
        answers = np.full((len(images), 2), 0.5, dtype=np.float32)
        answers[(images.sum((1, 2, 3)) > 0.7) & (images.sum((1, 2, 3)) < 1)] = np.nan
        return answers

    classifier = onepixel.as_classifier(nan_when_bright, input_shape=(1, 4, 4))
    with pytest.raises(AnswerError, match="NaN or infinity"):
        onepixel.signature(classifier, values=8)


def test_network_that_overflows_at_one_pixel_is_an_error_under_the_incremental_engine() -> None:
    class Overflows(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weigh = torch.nn.Linear(16, 1, bias=False)
            self.weigh.weight.data = torch.where(torch.arange(16) == 6, 1.0, -1.0)[None]

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            alone = torch.relu(self.weigh(images.flatten(1))) * 1e30 * 1e30
            return torch.cat([alone, -alone], dim=1)

    classifier = ModuleClassifier(Overflows().eval(), (1, 4, 4), name="overflows")
    for engine in ("exhaustive", "incremental"):
        with pytest.raises(AnswerError, match="NaN or infinity"):
            onepixel.signature(classifier, values=8, engine=engine)


def test_engine_that_leaves_a_pixel_out_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(classifier, plans, advance):
        found = [exhaustive(classifier, plan, advance) for plan in plans]
        found[0].low[:, 3], found[0].high[:, 3] = float("inf"), float("-inf")
        return found

    monkeypatch.setitem(ENGINES, "exhaustive", forgetful)
    with pytest.raises(ExactnessError, match="left out 1 of 64 pixels"):
        onepixel.signature(example("digits_cnn"), values=4, engine="exhaustive")
