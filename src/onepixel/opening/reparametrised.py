"""Weights that a network keeps in parts, put together: pruned ones, and those of weight normalisation.

`torch.nn.utils.prune` keeps a weight as `weight_orig` and `weight_mask`; weight normalisation (Salimans and Kingma,
2016) keeps its lengths and its directions, under two kinds of names. In each case what the layer computes with is a
fixed function of the parts, which is what an architecture without them expects.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

PARAMETRISED = ".parametrizations."


def whole_weights(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The same weights with each one that is kept in parts as a whole, and a sentence for what was done.

    Parameters
    ----------
    weights : mapping of str to Tensor

    Returns
    -------
    dict of str to Tensor
        In the order of the file; parts that do not make a whole stay as they are.
    tuple of str
    """
    whole: dict[str, Tensor] = {}
    used: set[str] = set()
    kinds: set[str] = set()
    for name, tensor in weights.items():
        if name in used:
            continue
        for kind, parts, joined in (
            ("pruned", pruned_names(name), pruned),
            ("normalised", normalised_names(name), normalised),
        ):
            if parts is None or parts[0] in weights or not all(part in weights for part in parts[1:]):
                continue
            made = joined(*(weights[part] for part in parts[1:]))
            if made is not None:
                whole[parts[0]] = made
                used.update(parts[1:])
                kinds.add(kind)
                break
        else:
            whole[name] = tensor
    said = {
        "pruned": "Pruned weights lie in the file beside their masks; each was multiplied by its own.",
        "normalised": "Weights kept as lengths and directions (weight normalisation) were put together.",
    }
    return whole, tuple(said[kind] for kind in sorted(kinds))


def pruned_names(name: str) -> tuple[str, str, str] | None:
    """The weight that a part of a pruned one belongs to, and both parts."""
    for ending in ("_orig", "_mask"):
        if name.endswith(ending):
            stem = name.removesuffix(ending)
            return stem, f"{stem}_orig", f"{stem}_mask"
    return None


def pruned(weight: Tensor, mask: Tensor) -> Tensor | None:
    """What is left of a weight."""
    return weight * mask if weight.shape == mask.shape else None


def normalised_names(name: str) -> tuple[str, str, str] | None:
    """The weight that lengths or directions belong to, and both."""
    if PARAMETRISED in name and name.endswith((".original0", ".original1")):
        layer, _, rest = name.partition(PARAMETRISED)
        stem = rest.rpartition(".")[0]
        parts = f"{layer}{PARAMETRISED}{stem}"
        return f"{layer}.{stem}", f"{parts}.original0", f"{parts}.original1"
    if name.endswith(("_g", "_v")):
        return name[:-2], f"{name[:-2]}_g", f"{name[:-2]}_v"
    return None


def normalised(lengths: Tensor, directions: Tensor) -> Tensor | None:
    """Directions at their lengths, g v / |v|, along the one axis that has lengths of its own."""
    if lengths.ndim != directions.ndim or not directions.is_floating_point():
        return None
    own = [axis for axis, size in enumerate(lengths.shape) if size == directions.shape[axis]]
    shared = [axis for axis in range(lengths.ndim) if axis not in own]
    if not shared or any(lengths.shape[axis] != 1 for axis in shared):
        return None
    return directions * (lengths / torch.linalg.vector_norm(directions, dim=shared, keepdim=True))
