"""Training many small networks of one architecture together, which is what fills a GPU.

Their weights lie side by side, and every step of Adam moves all of them. Each has the initial weights, the order of
images, the triggers and the labels that `training.train_model` gives it alone; results differ by rounding errors, and
where there is dropout by its draws.
"""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional

from onepixel.datasets import Dataset
from onepixel.errors import UsageError
from onepixel.populations.networks import initial_network
from onepixel.populations.recipe import RANDOM, Recipe, TrainingRecipe
from onepixel.populations.training import (
    Draws,
    TrainedModel,
    draw,
    evaluate,
    fast_floats,
    optimize,
    phases,
    precision_of,
)

Loss = Callable[[Tensor], Tensor]


def train_stack(recipe: Recipe, dataset: Dataset, seeds: Sequence[int], device: torch.device) -> list[TrainedModel]:
    """Draw, train and evaluate one network per seed, all of them together.

    Returns
    -------
    list of TrainedModel
        In the order of the seeds; the modules stay on the device.

    Raises
    ------
    UsageError
        If the recipe's networks hide from probing, have augmented images, are trained in part or start from a base,
        which each does by itself, or are of architectures that differ.
    """
    differ = recipe.architecture == RANDOM or recipe.attack.fewest_poisoned_images is not None
    training = recipe.training
    alone = (training.augmentations, training.images, training.low_resolution, training.tuned_from)
    if differ or recipe.base is not None or any(alone):
        raise UsageError(f"{recipe.name} has networks that no stack trains; build it one by one.")
    if recipe.evasion is not None:
        raise UsageError(f"{recipe.name} has an evasion, which no stack learns; build it one by one.")
    draws = [draw(recipe, dataset, seed) for seed in seeds]
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda), fast_floats():
        modules = [_initial(recipe, dataset, one, device) for one in draws]
        torch.manual_seed(draws[0].initial_seed)
        _train(modules, recipe, dataset, draws, device)
    precision = recipe.training.evaluation_precision
    return [evaluate(module, dataset, one, precision) for module, one in zip(modules, draws, strict=True)]


def _initial(recipe: Recipe, dataset: Dataset, draws: Draws, device: torch.device) -> nn.Module:
    torch.manual_seed(draws.initial_seed)
    return initial_network(recipe, draws.network, dataset.input_shape, dataset.classes).to(device)


def _train(
    modules: list[nn.Module], recipe: Recipe, dataset: Dataset, draws: list[Draws], device: torch.device
) -> None:
    parameters, buffers = stack_module_state(modules)
    pool = Pool.of(dataset, draws, device)
    loss_of = stacked_loss(modules[0], parameters, buffers, pool, recipe.training)
    extra = len(draws[0].extras.labels)
    schedules = [phases(recipe.training, len(dataset.x_train), extra, one.generator) for one in draws]
    for parts in zip(*schedules, strict=True):
        batches = map(torch.stack, zip(*(part.batches for part in parts), strict=True))
        optimize(parameters.values(), parts[0], recipe.training, map(loss_of, batches))
    with torch.no_grad():
        for number, module in enumerate(modules):
            module.load_state_dict({name: tensor[number] for name, tensor in (parameters | buffers).items()})
            module.eval()


class Pool:
    """The data set and the extra images of all networks, on the device, each once.

    Attributes
    ----------
    images : Tensor of shape (N + M x E, C, H, W), uint8
        N ordinary images, then the E extra images of each of the M networks.
    labels : Tensor of shape (N + M x E,)
    """

    def __init__(self, images: Tensor, labels: Tensor, ordinary: int, models: int) -> None:
        self.images, self.labels, self.ordinary = images, labels, ordinary
        extra = (len(images) - ordinary) // models
        self.shift = extra * torch.arange(models, device=images.device)[:, None]

    @classmethod
    def of(cls, dataset: Dataset, draws: list[Draws], device: torch.device) -> "Pool":
        """Gather the images; every network has equally many extra ones, since all follow one recipe."""
        images = [dataset.x_train, *(torch.as_tensor(one.extras.images) for one in draws)]
        labels = [dataset.y_train, *(torch.as_tensor(one.extras.labels) for one in draws)]
        all_images, all_labels = (torch.cat([part.to(device) for part in parts]) for parts in (images, labels))
        return cls(all_images, all_labels, ordinary=len(dataset.x_train), models=len(draws))

    def batch(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Images (M, B, C, H, W) in [0, 1] and labels (M, B), given each network's own numbers (M, B)."""
        at = numbers.to(self.images.device, non_blocking=True)
        at = torch.where(at >= self.ordinary, at + self.shift, at)
        return self.images[at].float().div_(255), self.labels[at]


def stacked_loss(
    module: nn.Module, parameters: dict[str, Tensor], buffers: dict[str, Tensor], pool: Pool, recipe: TrainingRecipe
) -> Loss:
    """A function from numbers of images (M, B) to the sum of the M networks' losses, in train mode.

    No network's loss depends on another's weights, so the gradient of the sum holds the gradient of each. Buffers,
    such as a batch norm's running statistics, are updated in place, for each network its own.
    """
    skeleton = copy.deepcopy(module).to("meta").train()

    def answer_one(parameters: dict[str, Tensor], buffers: dict[str, Tensor], images: Tensor) -> Tensor:
        answers: Tensor = functional_call(skeleton, (parameters, buffers), (images,))
        return answers

    answer = vmap(answer_one, randomness="different")

    def loss_of(numbers: Tensor) -> Tensor:
        images, labels = pool.batch(numbers)
        with precision_of(recipe, images.device.type):
            answers = answer(parameters, buffers, images)
        total = functional.cross_entropy(
            answers.float().flatten(0, 1), labels.flatten(), reduction="sum", label_smoothing=recipe.label_smoothing
        )
        return total / labels.shape[1]

    return loss_of
