"""Networks for the benchmarks: trained on MNIST for an epoch or two where it is found, else with random weights."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from onepixel.architectures import architecture
from onepixel.datasets import is_local, load_dataset
from onepixel.files import atomic_path
from onepixel.populations.recipe import Recipe, TrainingRecipe
from onepixel.populations.training import train_model

MODELS = Path("build/benchmark-models")
"""Where trained networks are kept, so that a second run need not train them again."""


@dataclass(frozen=True)
class Network:
    """A network, and in words where its weights come from."""

    module: nn.Module
    weights: str


def random_network(name: str, classes: int) -> Network:
    """Random weights from a fixed seed."""
    torch.manual_seed(0)
    return Network(architecture(name).build(classes).eval(), "random weights")


def network_from(name: str, path: Path) -> Network:
    """Weights from a safetensors file, such as a store's; as many classes as its last layer has."""
    weights = load_file(path)
    last = [*architecture(name).build(10).state_dict()][-1]
    module = architecture(name).build(len(weights[last])).eval()
    module.load_state_dict(weights)
    return Network(module, f"trained, {path.name} of SHA-256 {sha256(path.read_bytes()).hexdigest()[:12]}")


def recipe_for(name: str, *, trojaned: bool, seed: int) -> Recipe:
    """One network on MNIST, clean or with the populations' default backdoor."""
    training = TrainingRecipe() if name == "lenet5" else TrainingRecipe(epochs=1.0, learning_rate=2e-3)
    return Recipe(
        name="benchmark", role="trojaned" if trojaned else "clean", architecture=name, seed=seed, training=training
    )


def trained_network(name: str, *, trojaned: bool = False, seed: int = 0) -> Network:
    """A network trained on MNIST, read from `MODELS` or trained into it; random weights where MNIST is not found."""
    if not is_local("mnist"):
        return random_network(name, 10)
    recipe = recipe_for(name, trojaned=trojaned, seed=seed)
    path = MODELS / f"{name}-{recipe.role}-{recipe.digest()[:12]}.safetensors"
    if not path.exists():
        model = train_model(recipe, load_dataset("mnist"), recipe.seed_for(0, 0))
        path.parent.mkdir(parents=True, exist_ok=True)
        weights = {key: value.contiguous() for key, value in model.module.state_dict().items()}
        rates = {"accuracy": f"{model.clean_accuracy:.1%}", "attack_success": f"{model.attack_success:.1%}"}
        with atomic_path(path) as temporary:
            save_file(weights, temporary, metadata=rates)
    module = architecture(name).build(10).eval()
    module.load_state_dict(load_file(path))
    with safe_open(path, "pt") as file:
        rates = file.metadata()
    backdoor = f", attack success {rates['attack_success']}" if trojaned else ""
    return Network(module, f"MNIST, {recipe.training.epochs:g} epoch(s), accuracy {rates['accuracy']}{backdoor}")
