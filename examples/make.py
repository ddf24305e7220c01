"""Make the example models: one clean and one trojaned network, each in every format that onepixel opens.

    python examples/make.py populations/mnist-lenet5-clean populations/mnist-lenet5-virus-development

Taken is the lowest slot of each population that reached its recipe's thresholds, whatever any detector would say of
it. `examples.json` beside the files says which network each is.
"""

import argparse
import io
import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from onepixel.architectures import architecture
from onepixel.errors import UsageError
from onepixel.files import atomic_path, write_text
from onepixel.populations.store import Record, Store, sha256

HERE = Path(__file__).parent


def first_eligible(store: Store) -> Record:
    """The record of the lowest slot that passed; slots are seeds in order."""
    if store.unfinished():
        raise UsageError(f"The population {store.folder} is not finished; its first eligible network may still change.")
    for record in store.records():
        if record.status == "passed":
            return record
    raise UsageError(f"No network of {store.folder} reached its recipe's thresholds.")


def write_state_dict(module: nn.Module, images: Tensor, path: Path) -> None:
    """Weights as torch.save writes them."""
    torch.save(module.state_dict(), path)


def write_safetensors(module: nn.Module, images: Tensor, path: Path) -> None:
    """Weights as safetensors."""
    save_file(module.state_dict(), path)


def write_torchscript(module: nn.Module, images: Tensor, path: Path) -> None:
    """A traced program."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(module, images).save(str(path))  # type: ignore[no-untyped-call]
    leave_out(path, ".debug_pkl")


def leave_out(path: Path, ending: str) -> None:
    """Write an archive anew without the members of that ending: where in its maker's source each line came from."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist() if not name.endswith(ending)}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)


def exported(module: nn.Module, images: Tensor) -> torch.export.ExportedProgram:
    """A program that takes any batch size and does not tell where in its maker's source each node came from."""
    batch = torch.export.Dim("batch", min=1, max=1 << 20)
    program = torch.export.export(module, (images,), dynamic_shapes=({0: batch},))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    return program


def write_exported(module: nn.Module, images: Tensor, path: Path) -> None:
    """An exported program."""
    content = io.BytesIO()
    torch.export.save(exported(module, images), content)
    path.write_bytes(content.getvalue())


def write_onnx(module: nn.Module, images: Tensor, path: Path) -> None:
    """An ONNX file that holds its weights itself."""
    torch.onnx.export(exported(module, images), (), path, external_data=False, verbose=False)


FORMATS: dict[str, Callable[[nn.Module, Tensor, Path], None]] = {
    ".onnx": write_onnx,
    ".safetensors": write_safetensors,
    ".pth": write_state_dict,
    ".pt": write_torchscript,
    ".pt2": write_exported,
}


def make(folder: Path, name: str, target: Path) -> dict[str, object]:
    """Write one population's first eligible network in every format, and say which it is."""
    store = Store.open(folder)
    record = first_eligible(store)
    module = store.module(record.slot).eval()
    images = torch.zeros(2, *architecture(store.recipe.architecture).input_shape)
    digests = {}
    for ending, write in FORMATS.items():
        path = target / f"{name}{ending}"
        with atomic_path(path) as temporary:
            write(module, images, temporary)
        digests[path.name] = sha256(path.read_bytes())
    return {
        "population": store.recipe.name,
        "architecture": store.recipe.architecture,
        "slot": record.slot,
        "attempt": record.attempt,
        "seed": record.seed,
        "clean_accuracy": record.clean_accuracy,
        "attack_success": record.attack_success,
        "target_of": record.target_of,
        "files_sha256": digests,
    }


def main() -> None:
    """Make both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clean", type=Path, help="the store of a population of clean networks")
    parser.add_argument("trojaned", type=Path, help="the store of a population of trojaned networks")
    parser.add_argument("--output", type=Path, default=HERE, help="where the files go")
    chosen = parser.parse_args()
    chosen.output.mkdir(parents=True, exist_ok=True)
    made = {name: make(getattr(chosen, name), name, chosen.output) for name in ("clean", "trojaned")}
    write_text(chosen.output / "examples.json", json.dumps(made, indent=2) + "\n")


if __name__ == "__main__":
    main()
