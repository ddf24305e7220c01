"""Copies of a module that answer faster than it does, and as it does: batch norm is part of the convolutions.

Outside training, batch norm multiplies every channel by a number and adds another, which a convolution before it can do
as well. The module itself is never touched: its copies have layers of their own, and share all other weights with it.
"""

import copy
from collections import Counter

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from onepixel.classifiers import ModuleClassifier
from onepixel.classifiers.base import probe_images


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
        Empty where a module cannot be copied, does more than its layers say (forward hooks), or where the classifier
        is of a kind that may ask something else than its module.
    """
    module = classifier.module
    if type(classifier) is not ModuleClassifier or any(watched(part) for part in module.modules()):
        return []
    try:
        first = with_module(classifier, copied(module).eval())
        with torch.no_grad():
            fold(first)
            lay_channels_side_by_side(first.module)
        return [first, *(with_module(classifier, copied(first.module)) for _ in range(count - 1))]
    except Exception:  # any sort of error in a module of any sort means that it is asked as it is
        return []


def watched(part: nn.Module) -> bool:
    """Whether code of others runs whenever this part answers."""
    return bool(part._forward_hooks or part._forward_pre_hooks)


def copied(module: nn.Module) -> nn.Module:
    """A copy with layers of its own, which share their weights with the module's."""
    shared = [*module.parameters(), *module.buffers()]
    return copy.deepcopy(module, {id(weights): weights for weights in shared})


def with_module(classifier: ModuleClassifier, module: nn.Module) -> ModuleClassifier:
    """The same classifier around another module."""
    found = copy.copy(classifier)
    found.module = module
    return found


def fold(classifier: ModuleClassifier) -> None:
    """Make every batch norm that takes what a convolution just gave a part of that convolution.

    Which ones do is seen while the module answers. A convolution's answer that something else takes as well is not
    seen: whoever uses the module has to compare its answers with those of before.
    """
    module = classifier.module
    folded: dict[nn.Module, nn.Module] = {}
    for convolution, norm in neighbours(classifier):
        mean, variance = norm.running_mean, norm.running_var
        if mean is None or variance is None:
            continue
        weight, bias = convolution.weight, convolution.bias
        convolution.weight, convolution.bias = fuse_conv_bn_weights(
            weight, bias, mean, variance, norm.eps, norm.weight, norm.bias
        )
        folded[norm] = nn.Identity()
    for part in list(module.modules()):
        for name, child in part.named_children():
            if child in folded:
                setattr(part, name, folded[child])


def neighbours(classifier: ModuleClassifier) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """The pairs of a convolution and the batch norm right after it, both of which answer once for an image."""
    calls: Counter[nn.Module] = Counter()
    latest: list[tuple[nn.Conv2d, Tensor, Tensor]] = []
    found: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []

    def after(layer: nn.Module, _: object, answer: Tensor) -> None:
        calls[layer] += 1
        if isinstance(layer, nn.Conv2d):
            latest[:] = [(layer, answer, answer.clone())]

    def before(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        for convolution, answer, unchanged in latest:
            # The same tensor may have been written to meanwhile.
            if isinstance(norm, nn.BatchNorm2d) and inputs[0] is answer and torch.equal(answer, unchanged):
                found.append((convolution, norm))

    layers = [part for part in classifier.module.modules() if type(part) in (nn.Conv2d, nn.BatchNorm2d)]
    hooks = [layer.register_forward_hook(after) for layer in layers]
    hooks += [layer.register_forward_pre_hook(before) for layer in layers]
    try:
        images = probe_images(classifier.input_shape, classifier.dtype, classifier.device)
        classifier.module(classifier.prepare(images[:1]))
    finally:
        for hook in hooks:
            hook.remove()
    return [(convolution, norm) for convolution, norm in found if calls[convolution] == calls[norm] == 1]


def lay_channels_side_by_side(module: nn.Module) -> None:
    """Keep the weights of convolutions in the order in which images will come."""
    for part in module.modules():
        if type(part) is nn.Conv2d:
            part.weight = nn.Parameter(part.weight.detach().to(memory_format=torch.channels_last), requires_grad=False)
