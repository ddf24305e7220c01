"""Weights without a program: safetensors files and whatever `torch.save` wrote, put into a network known here."""

from pathlib import Path

import torch
from torch import nn

from onepixel.classifiers import ModuleClassifier
from onepixel.errors import ModelFileError, UsageError
from onepixel.opening.answers import settle_outputs
from onepixel.opening.fitting import fit
from onepixel.opening.limits import Limits, address_space_capped, refusing
from onepixel.opening.preparation import range_for
from onepixel.opening.rebuild import network_for
from onepixel.opening.recognise import Format
from onepixel.opening.refusals import ASK
from onepixel.opening.request import Request
from onepixel.opening.torch_pickle import HARMLESS, Loaded, read_torch_file
from onepixel.opening.weights import Weights, choose_weights, find_weights
from onepixel.printable import one_line

TRUSTED_NAMES = ("torch.nn.", "torchvision.", "collections.", "timm.", "onepixel.")
"""Names that a pickled network has to have; they are no news."""
SHOWN = 4


def open_weights(request: Request, limits: Limits) -> ModuleClassifier:
    """Open a safetensors file, a state dict, a checkpoint or a whole pickled network as a classifier.

    Raises
    ------
    UsageError
        If the user has to name the architecture or something else that the file leaves open.
    ModelFileError
        If the file is damaged, holds no weights, or does not fit the architecture.
    UndecidedError
        If the network's answers cannot be used.
    """
    weights, notes = read_weights(request, limits)
    network = network_for(request, weights)
    fitted = fit(weights.tensors, network.module, request.name, network.name)
    input_shape = request.input_shape or network.input_shape
    if input_shape is None:
        raise UsageError(
            f"{request.name} does not say which images {network.name} takes; say --input-shape (input_shape=(C, H, W))."
        )
    with refusing(request.name, f"putting its weights into {network.name}"):
        network.module.load_state_dict(fitted.weights, strict=False)
    values = range_for(request, None, input_shape[0])
    last = last_module(network.module)
    answers, kind = settle_outputs(request.outputs or network.outputs, last, request.name)
    if request.outputs is None and network.outputs is not None:
        kind = f"Answers are {network.outputs}, as {network.name} gives them."
    normalize = None if values.identity else (values.mean, values.std)
    classifier = ModuleClassifier(network.module.eval(), input_shape, answers, normalize, request.name)
    classifier.range_unsure = values.unsure
    classifier.assumptions = (
        network.sentence,
        f"Images are {input_shape} (channels, height, width).",
        values.sentence,
        kind,
        *notes,
        *fitted.notes,
    )
    return classifier


def read_weights(request: Request, limits: Limits) -> tuple[Weights, tuple[str, ...]]:
    """The weights that the user means, and what lies beside them in the file."""
    with address_space_capped(limits.memory_bytes), refusing(request.name, "reading its weights"):
        if request.format is Format.SAFETENSORS:
            from safetensors.torch import load, load_file

            return Weights("", load_file(request.path) if request.contents is None else load(request.contents)), ()
        if request.format is Format.SHARDED:
            from onepixel.opening.sharded import read_shards

            return Weights("", read_shards(Path(request.path), limits)), ("The weights lie in several files.",)
        loaded = read_plain(request) or read_inertly(request)
    found = find_weights(loaded.content)
    chosen = choose_weights(found, request.key, request.name)
    notes = []
    if chosen.key:
        notes.append(f"The weights are the entry {one_line(chosen.key)!r} of the file; its other entries were ignored.")
    if chosen.ignored:
        notes.append(f"{chosen.ignored} entries beside the weights are no tensors and were ignored.")
    named = [name for name in loaded.skipped if name not in HARMLESS and not name.startswith(TRUSTED_NAMES)]
    if chosen.network is not None:
        named = [name for name in named if name != chosen.network.kind]
    if named:
        shown = ", ".join(one_line(name, 60) for name in named[:SHOWN])
        more = f" and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
        notes.append(
            f"The file names {shown}{more}, which unpickling would have imported or called; nothing of that was done."
        )
    return chosen, tuple(notes)


def read_plain(request: Request) -> Loaded | None:
    """Tensors in plain containers, read by PyTorch itself; None if the file holds anything else."""
    if request.format is not Format.STATE_DICT:
        return None
    try:
        with request.open() as file:
            if torch.serialization.get_unsafe_globals_in_checkpoint(file):
                return None
            file.seek(0)
            return Loaded(torch.load(file, map_location="cpu", weights_only=True), {})
    except MemoryError:
        raise
    except Exception:
        # Whatever it is that PyTorch does not take: the reader below finds the sentence for it.
        return None


def read_inertly(request: Request) -> Loaded:
    """Anything that torch.save wrote, as data.

    Raises
    ------
    ModelFileError
        If it is damaged.
    """
    try:
        with request.open() as file:
            return read_torch_file(file)
    except ModelFileError as error:
        raise ModelFileError(f"{request.name} cannot be read as what torch.save writes: {error}. {ASK}") from error


def last_module(module: nn.Module) -> str:
    """The class name of the last layer, if it is a final softmax or sigmoid; else ""."""
    leaves = [part for part in module.modules() if not any(True for _ in part.children())]
    last = type(leaves[-1]).__name__ if leaves else ""
    return last if last in ("Softmax", "LogSoftmax", "Sigmoid") else ""
