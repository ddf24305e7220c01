"""The network that weights belong to: the one the user names, or one that a pickled network plainly is.

Names are `onepixel.architectures`' own, torchvision's, `timm:NAME` (an extra), and `module:function` of the user.
"""

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from onepixel.architectures import ARCHITECTURES, architecture
from onepixel.classifiers.base import Outputs
from onepixel.errors import UsageError
from onepixel.opening.fitting import classes_of, fitting_architectures
from onepixel.opening.pickled_module import Part, like, matched, plain_sequence
from onepixel.opening.plain_layers import on_meta
from onepixel.opening.request import Request
from onepixel.opening.weights import Weights
from onepixel.printable import one_line
from onepixel.starting import import_meta_functions

Shape = tuple[int, int, int]
TORCHVISION_SHAPE: Shape = (3, 224, 224)
MOST_CANDIDATES = 64
TIMM = "timm:"


@dataclass(frozen=True)
class Network:
    """A freshly made network.

    Attributes
    ----------
    module : torch.nn.Module
    input_shape : (C, H, W) or None
        What it was made for, where that is known.
    outputs : {"logits", "probabilities"} or None
        What it answers, where that is known.
    name : str
        For people.
    sentence : str
        How it was found, for the verdict.
    """

    module: nn.Module
    input_shape: Shape | None
    outputs: Outputs | None
    name: str
    sentence: str


def network_for(request: Request, weights: Weights) -> Network:
    """The network that weights belong to.

    Raises
    ------
    UsageError
        If the user has to name it, or named one that does not exist.
    """
    if request.architecture is not None:
        by = request.architecture_by.value
        said = f"The weights were put into the architecture {request.architecture}, {by}."
        return named_network(request.architecture, weights.tensors, request.name, said)
    if weights.network is not None:
        found = recognised(weights.network)
        if found is not None:
            return found
        raise UsageError(unknown_network(request.name, weights))
    raise UsageError(
        f"{request.name} holds weights only; say which network they belong to with --architecture "
        f"({', '.join(ARCHITECTURES)}, timm:NAME, or module:function of your own).{perhaps(weights.tensors)}"
    )


def perhaps(tensors: Mapping[str, Tensor]) -> str:
    """What the shapes fit, as the end of a sentence."""
    names = fitting_architectures(tensors)
    return f" Their shapes fit {' and '.join(names)}." if names else ""


def unknown_network(name: str, weights: Weights) -> str:
    """The sentence for a pickled network whose class is not known here."""
    assert weights.network is not None
    return (
        f"{name} is a whole pickled network of the class {one_line(weights.network.kind, 100)}, whose code is not in "
        "the file and which is no plain sequence of torch.nn layers; say which network it is with --architecture "
        f"({', '.join(ARCHITECTURES)}, timm:NAME, or module:function of your own).{perhaps(weights.tensors)}"
    )


def named_network(wanted: str, tensors: Mapping[str, Tensor], name: str, said: str) -> Network:
    """The network of that name, with as many classes as the weights have.

    Raises
    ------
    UsageError
        If there is none.
    """
    if wanted.startswith(TIMM):
        return timm_network(wanted, tensors, said)
    if ":" in wanted:
        return Network(build_named(wanted), None, None, wanted, said)
    if wanted not in ARCHITECTURES and wanted in torchvision_names():
        return torchvision_network(wanted, tensors, said)
    known = architecture(wanted)
    return Network(known.build(classes_of(known, tensors, name)), known.input_shape, "logits", wanted, said)


def recognised(part: Part) -> Network | None:
    """The network that a pickled one plainly is: one that is known here, or plain layers one after the other."""
    sequence = plain_sequence(part)
    if sequence is not None:
        return Network(
            sequence,
            None,
            None,
            "the pickled sequence of layers",
            "The network was rebuilt from the layers that the file lists, all of them plain ones of torch.nn; "
            "nothing in the file was run.",
        )
    for name, build, shape in candidates(part):
        if not matched(part, on_meta(build)):
            continue
        module = like(part, build)
        if module is not None:
            return Network(
                module,
                shape,
                "logits",
                name,
                f"The file is a whole pickled {part.class_name}; it was read as data and its tensors were put into "
                f"{name}, whose parts are the same. Nothing in the file was run.",
            )
    return None


def candidates(part: Part) -> Iterator[tuple[str, Callable[[], nn.Module], Shape | None]]:
    """Known networks that a pickled class could be: ours, torchvision's and timm's of the same source module."""
    module = part.kind.rpartition(".")[0]
    for name in ARCHITECTURES if module.startswith("onepixel.architectures.") else ():
        known = ARCHITECTURES[name]
        yield name, lambda known=known: known.build(2), known.input_shape  # type: ignore[misc]
    if module.startswith("torchvision.models."):
        import torchvision

        names = torchvision.models.list_models(module=torchvision.models)
        same = [name for name in names if torchvision.models.get_model_builder(name).__module__ == module]
        for name in same[:MOST_CANDIDATES]:
            # Nothing is downloaded, and towers that only help in training are part of what was saved or not.
            yield name, lambda name=name: torchvision.models.get_model(name, weights=None), TORCHVISION_SHAPE  # type: ignore[misc]
    if module.startswith("timm.models."):
        timm = timm_package()
        if timm is None:
            return
        every = timm.list_models(module=module.rpartition(".")[2])
        told = timm_name(part)
        for name in [told] if told in every else every[:MOST_CANDIDATES]:
            shape = tuple(timm.get_pretrained_cfg(name).input_size) if timm.get_pretrained_cfg(name) else None
            yield f"{TIMM}{name}", lambda name=name: timm.create_model(name, pretrained=False), shape  # type: ignore[misc]


def torchvision_names() -> list[str]:
    """What torchvision calls its classifiers."""
    import torchvision

    return list(torchvision.models.list_models(module=torchvision.models))


def torchvision_network(wanted: str, tensors: Mapping[str, Tensor], said: str) -> Network:
    """One of torchvision's networks, without downloading anything."""
    import torchvision

    whole = on_meta(lambda: torchvision.models.get_model(wanted, weights=None))
    head = next(name for name in reversed(list(whole.state_dict())) if name.endswith(".weight"))
    classes = next((len(tensor) for key, tensor in tensors.items() if f".{key}".endswith(f".{head}")), 1000)
    module = torchvision.models.get_model(wanted, weights=None, num_classes=classes)
    return Network(module, TORCHVISION_SHAPE, "logits", wanted, said)


def timm_name(part: Part) -> str:
    """What a network of timm says it is; "" where it does not."""
    from onepixel.opening.inert import Built

    for key in ("pretrained_cfg", "default_cfg"):
        found: Any = part.settings.get(key)
        found = found.state if isinstance(found, Built) else found
        if isinstance(found, dict) and isinstance(found.get("architecture"), str):
            return str(found["architecture"])
    return ""


def timm_package() -> Any:
    """The package timm, or None."""
    try:
        import timm
    except ImportError:
        return None
    return timm


def timm_network(wanted: str, tensors: Mapping[str, Tensor], said: str) -> Network:
    """One of timm's networks, without downloading anything.

    Raises
    ------
    UsageError
        If timm is not installed or has no such network.
    """
    timm = timm_package()
    if timm is None:
        raise UsageError(f'{wanted} needs timm: pip install "onepixel[timm]".')
    name = wanted.removeprefix(TIMM)
    if not timm.is_model(name):
        raise UsageError(f"timm has no network {one_line(name, 60)!r}.")
    settings = timm.get_pretrained_cfg(name)
    head = f"{settings.classifier}.weight" if settings is not None else ""
    # Whatever a wrapper put before the names: the head keeps its own at the end.
    classes = next((len(tensor) for key, tensor in tensors.items() if f".{key}".endswith(f".{head}")), 1000)
    import_meta_functions()
    try:
        module = timm.create_model(name, pretrained=False, num_classes=classes)
    except Exception as error:
        raise UsageError(f"timm cannot build {one_line(name, 60)!r}: {one_line(error)}.") from error
    shape = tuple(settings.input_size) if settings is not None else None
    return Network(module, shape, "logits", wanted, said)


def build_named(wanted: str) -> nn.Module:
    """Call `module:function`, which the user named; the current folder is searched last.

    Raises
    ------
    UsageError
        If it cannot be imported or called without arguments, or returns no module.
    """
    module_name, _, function_name = wanted.partition(":")
    import_meta_functions()
    here = str(Path.cwd())
    sys.path.append(here)
    try:
        function: Callable[[], object] = getattr(importlib.import_module(module_name), function_name)
        built = function()
    except Exception as error:
        raise UsageError(f"Cannot build {wanted}: {one_line(error) or type(error).__name__}.") from error
    finally:
        sys.path.remove(here)
    if not isinstance(built, nn.Module):
        raise UsageError(f"{wanted} returned a {type(built).__name__}, not a torch.nn.Module.")
    return built
