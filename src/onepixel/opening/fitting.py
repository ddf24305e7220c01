"""Fitting the names in a file to those of an architecture: prefixes of wrappers, and what is left over."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from onepixel.architectures import ARCHITECTURES, Architecture
from onepixel.errors import ModelFileError, UsageError
from onepixel.opening.plain_layers import on_meta
from onepixel.opening.reparametrised import whole_weights
from onepixel.printable import one_line

COMPILED = "_orig_mod."
COUNTERS = ("total_ops", "total_params")
"""What a widely used counter of operations leaves in state dicts."""
BATCHES = "num_batches_tracked"
SHOWN = 4
MOST_CLASSES = 100_000
MOST_PREFIXES = 64

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Fitted:
    """Weights under an architecture's own names, and a sentence for everything that was done to them."""

    weights: dict[str, Tensor]
    notes: tuple[str, ...] = field(default=())


def shapes_of(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor."""
    return {name: tuple(tensor.shape) for name, tensor in weights.items()}


def without_compiled(weights: Mapping[str, Tensor]) -> Fitted:
    """Drop what torch.compile and counters of operations put between and beside the names; put parts together."""
    notes = []
    if any(COMPILED in name for name in weights):
        notes.append(f"Names in the file contain {COMPILED!r} (torch.compile); that was dropped.")
    kept = {name.replace(COMPILED, ""): tensor for name, tensor in weights.items() if not name.endswith(COUNTERS)}
    if len(kept) < len(weights):
        notes.append("Counts of operations that lie beside the weights were ignored.")
    whole, said = whole_weights(kept)
    return Fitted(whole, (*notes, *said))


def levels(names: list[str]) -> list[str]:
    """Prefixes that all names share, whole words between dots only: "", then "model.", then "model.net." and so on."""
    found = [""]
    while names:
        start = found[-1]
        word, dot, _ = names[0][len(start) :].partition(".")
        if not dot or not all(name.startswith(f"{start}{word}.") for name in names):
            return found
        found.append(f"{start}{word}.")
    return found


def fitted_names(weights: Mapping[str, Tensor], expected: set[str]) -> Fitted | None:
    """Rename weights to what is expected, if a prefix that all names share is all that differs; else None.

    Counters of batches, which PyTorch added to batch normalisation later and which change no answer, may be missing.
    """
    plain = without_compiled(weights)
    needed = {name for name in expected if not name.endswith(BATCHES)}
    for mine in levels(list(plain.weights)):
        for theirs in levels(sorted(expected)):
            named = {theirs + name.removeprefix(mine): tensor for name, tensor in plain.weights.items()}
            if needed <= named.keys() <= expected:
                notes = list(plain.notes)
                if mine:
                    known = " (torch's DataParallel)" if mine == "module." else ""
                    notes.append(f"Every name in the file begins with {one_line(mine)!r}{known}; that was dropped.")
                if theirs:
                    notes.append(f"Every name of the architecture begins with {theirs!r}; that was added.")
                return Fitted(named, tuple(notes))
    return part_that_fits(plain, needed, expected)


def part_that_fits(plain: Fitted, needed: set[str], expected: set[str]) -> Fitted | None:
    """The weights under one prefix, if they are just what is expected: trainers keep losses and metrics beside them.

    Raises
    ------
    UsageError
        If that is so for several prefixes, such as those of a student and a teacher.
    """
    found: dict[str, dict[str, Tensor]] = {}
    for prefix in prefixes(plain.weights):
        own = {name.removeprefix(prefix): own for name, own in plain.weights.items() if name.startswith(prefix)}
        if needed <= own.keys() <= expected:
            found[prefix] = own
    if len(found) > 1:
        words = [one_line(prefix.rstrip("."), 60) for prefix in found]
        raise UsageError(f"The file holds several networks that fit ({', '.join(words)}); say which with --key NAME.")
    for prefix, own in found.items():
        beside = [name for name in plain.weights if not name.startswith(prefix)]
        more = f" and {len(beside) - 1} more" if len(beside) > 1 else ""
        said = (
            f"Only what begins with {one_line(prefix, 60)!r} was used; beside it lies {one_line(beside[0], 60)}{more}."
        )
        return Fitted(own, (*plain.notes, said))
    return None


def prefixes(weights: Mapping[str, Tensor]) -> list[str]:
    """All beginnings of names, whole words between dots only, the shortest first."""
    found = {name[: place + 1] for name in weights for place, letter in enumerate(name) if letter == "."}
    return sorted(found, key=lambda prefix: (prefix.count("."), prefix))[:MOST_PREFIXES]


def fit(weights: Mapping[str, Tensor], module: nn.Module, name: str, wanted: str) -> Fitted:
    """Weights under a network's own names, all of them and nothing else, each in its shape.

    Raises
    ------
    ModelFileError
        If names or shapes differ.
    """
    expected = shapes_of(module.state_dict())
    found = fitted_names(weights, set(expected))
    if found is None:
        raise ModelFileError(misfit(weights, expected, name, wanted))
    for key, tensor in found.weights.items():
        if tuple(tensor.shape) != expected[key]:
            shapes = f"{tuple(tensor.shape)}, not {expected[key]}"
            raise ModelFileError(f"{name} does not fit {wanted}: {one_line(key)} has the shape {shapes}.")
    return found


def misfit(weights: Mapping[str, Tensor], expected: Shapes, name: str, wanted: str) -> str:
    """The sentence for names that differ: the first of both sides with their shapes, and what would fit."""
    missing = sorted(expected.keys() - weights.keys())
    extra = [key for key in weights if key not in expected]
    which = f"it lacks {one_line(missing[0])}" if missing else f"it has {one_line(extra[0])} besides"
    return (
        f"{name} does not fit {wanted}: {which} ({len(missing)} missing, {len(extra)} unknown); the file has "
        f"{listed(shapes_of(weights))}, {wanted} has {listed(expected)}.{proposal(weights)}"
    )


def listed(shapes: Shapes) -> str:
    """The first names with their shapes."""
    shown = ", ".join(f"{one_line(name, 60)} {shape}" for name, shape in list(shapes.items())[:SHOWN])
    return shown + (f" and {len(shapes) - SHOWN} more" if len(shapes) > SHOWN else "")


def proposal(weights: Mapping[str, Tensor]) -> str:
    """A sentence that names the architectures whose shapes fit, or nothing."""
    names = fitting_architectures(weights)
    return f" Its shapes fit {' and '.join(names)} (--architecture {names[0]})." if names else ""


def fitting_architectures(weights: Mapping[str, Tensor]) -> list[str]:
    """The architectures known here that have tensors of exactly these shapes, whatever their names."""
    mine = sorted(shape for name, shape in shapes_of(weights).items() if not name.endswith((BATCHES, *COUNTERS)))
    # Which layer is the last is not told by the order of the names: safetensors files sort them.
    rows = {shape[0] for shape in mine if len(shape) == 2 and 2 <= shape[0] <= MOST_CLASSES}
    return [
        name
        for name in ARCHITECTURES
        if len(sorted_shapes(ARCHITECTURES[name], 2)) == len(mine)
        and any(sorted_shapes(ARCHITECTURES[name], classes) == mine for classes in sorted(rows))
    ]


def sorted_shapes(known: Architecture, classes: int) -> list[tuple[int, ...]]:
    """The shapes of an architecture's tensors, counters of batches left out."""
    expected = shapes_of(on_meta(lambda: known.build(classes)).state_dict())
    return sorted(shape for name, shape in expected.items() if not name.endswith(BATCHES))


def classes_of(known: Architecture, weights: Mapping[str, Tensor], name: str) -> int:
    """K, from the length of the weights of the architecture's last layer.

    Raises
    ------
    ModelFileError
        If the names are others, or there are fewer than two classes or too many.
    """
    expected = shapes_of(on_meta(lambda: known.build(2)).state_dict())
    found = fitted_names(weights, set(expected))
    last = list(expected)[-1]
    if found is None or found.weights[last].ndim == 0:
        raise ModelFileError(misfit(weights, expected, name, known.name))
    classes = len(found.weights[last])
    if not 2 <= classes <= MOST_CLASSES:
        raise ModelFileError(f"{name} ends with a layer of {classes} classes; onepixel takes 2 to {MOST_CLASSES}.")
    return classes
