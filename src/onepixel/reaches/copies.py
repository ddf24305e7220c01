"""Copies of a module that answer faster than it does, and as it does: batch norm is part of the convolutions.

Outside training, batch norm multiplies every channel by a number and adds another, which a convolution before it can do
as well. The module itself is never touched: its copies have layers of their own, and share all other weights with it.
"""

import copy
from collections import Counter
from types import FunctionType

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from onepixel.classifiers import ModuleClassifier
from onepixel.classifiers.base import probe_images
from onepixel.reaches.watching import Watch


def faster_copies(classifier: ModuleClassifier, count: int) -> list[ModuleClassifier]:
    """So many copies of a classifier, whose convolutions have batch norm folded in and take channels side by side.

    Parameters
    ----------
    classifier : ModuleClassifier
        On a processor.
    count : int
        One copy for each thread: what a module keeps on itself while it answers would be overwritten by another's.

    Returns
    -------
    list of ModuleClassifier
        Empty where a module cannot be copied, does more than its layers say (forward hooks, functions that call other
        layers), writes to its buffers, draws numbers by chance or looks at its numbers to decide how to go
        on while it answers, or has a convolution of one channel, and where the classifier is of a kind that may ask
        something else than its module, or torch chooses precisions for this thread (autocast).
    """
    module = classifier.module
    if type(classifier) is not ModuleClassifier or any(watched(part) for part in module.modules()):
        return []
    if torch.is_autocast_enabled("cpu"):  # each thread has its own, and those that ask copies have none
        return []
    try:
        if any(borrows(part) for part in module.modules()):
            return []
        first, watch = with_module(classifier, copied(module).eval()), Watch()
        with torch.no_grad():
            pairs = neighbours(first, watch)
            if watch.one_channel or watch.decides or not watch.keeps_to_itself:
                return []
            fold(first.module, pairs)
            lay_channels_side_by_side(first.module)
        return [first, *(with_module(classifier, copied(first.module)) for _ in range(count - 1))]
    except Exception:  # any sort of error in a module of any sort means that it is asked as it is
        return []


def watched(part: nn.Module) -> bool:
    """Whether code of others runs whenever this part answers."""
    return bool(part._forward_hooks or part._forward_pre_hooks)


def borrows(part: nn.Module) -> bool:
    """Whether a function on this part holds on to more than numbers: to a layer, say, which no copy would copy."""
    functions = [value for value in vars(part).values() if isinstance(value, FunctionType)]
    cells = [cell for function in functions for cell in function.__closure__ or ()]
    return not all(isinstance(cell.cell_contents, int | float | str | None) for cell in cells)


def copied(module: nn.Module) -> nn.Module:
    """A copy with layers of its own, which share their weights with the module's."""
    shared = [*module.parameters(), *module.buffers()]
    return copy.deepcopy(module, {id(weights): weights for weights in shared})


def with_module(classifier: ModuleClassifier, module: nn.Module) -> ModuleClassifier:
    """The same classifier around another module."""
    found = copy.copy(classifier)
    found.module = module
    return found


def fold(module: nn.Module, pairs: list[tuple[nn.Module, nn.Module]]) -> None:
    """Make every batch norm that takes what a convolution just gave a part of that convolution.

    A ReLU that takes what either just gave writes into it, so that nothing has to be brought into the caches anew.

    Which ones do is seen while the module answers; whoever uses it may compare its answers with those of before.
    """
    folded: dict[nn.Module, nn.Module] = {}
    for before, after in pairs:
        if isinstance(after, nn.ReLU):
            after.inplace = True
        elif isinstance(before, nn.Conv2d) and isinstance(after, nn.BatchNorm2d):
            mean, variance = after.running_mean, after.running_var
            if mean is None or variance is None:
                continue
            before.weight, before.bias = fuse_conv_bn_weights(
                before.weight, before.bias, mean, variance, after.eps, after.weight, after.bias
            )
            folded[after] = nn.Identity().eval()
    for part in list(module.modules()):
        for name, child in list(part._modules.items()):  # under each of its names
            if child in folded:
                setattr(part, name, folded[child])


def neighbours(classifier: ModuleClassifier, watch: Watch) -> list[tuple[nn.Module, nn.Module]]:
    """The pairs of a convolution or batch norm and the layer that alone takes its answer, both asked once an image."""
    calls: Counter[nn.Module] = Counter()
    # With how often their memory had been used before, for others, and kept to the end, so that it is for no others.
    answers: dict[int, tuple[nn.Module, Tensor, int]] = {}
    found: list[tuple[nn.Module, int]] = []

    def begins(layer: nn.Module, inputs: tuple[Tensor]) -> None:
        if id(inputs[0]) in answers:
            found.append((layer, id(inputs[0])))

    def ends(layer: nn.Module, _: object, answer: Tensor) -> None:
        calls[layer] += 1
        if not isinstance(layer, nn.ReLU):
            answers[id(answer)] = (layer, answer, watch.uses_of(answer))

    layers = [part for part in classifier.module.modules() if type(part) in (nn.Conv2d, nn.BatchNorm2d, nn.ReLU)]
    hooks = [layer.register_forward_pre_hook(begins) for layer in layers]
    hooks += [layer.register_forward_hook(ends) for layer in layers]
    try:
        images = probe_images(classifier.input_shape, classifier.dtype, classifier.device)
        with watch:
            classifier.module(classifier.prepare(images[:1]))
    finally:
        for hook in hooks:
            hook.remove()
    pairs = [(*answers[number], after) for after, number in found]
    return [
        (before, after)
        for before, answer, unused, after in pairs
        if calls[before] == calls[after] == 1 and watch.uses_of(answer) == unused + 1
    ]


def lay_channels_side_by_side(module: nn.Module) -> None:
    """Keep the weights of convolutions in the order in which images will come."""
    for part in module.modules():
        if type(part) is nn.Conv2d:
            part.weight = nn.Parameter(part.weight.detach().to(memory_format=torch.channels_last), requires_grad=False)
