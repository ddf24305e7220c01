"""Signatures of many networks at once, against one after the other."""

from collections.abc import Callable

import torch

import onepixel
from onepixel import Signature
from onepixel.classifiers import ModuleClassifier
from onepixel.signatures import signatures_of
from timing import fastest
from trained import random_network


def measure_stacked(models: int, device: torch.device, repeats: int, stride: int) -> list[str]:
    """Many LeNet-5s: a loop of exhaustive and of automatically chosen engines, and the stack; lines of Markdown."""
    modules = [random_network("lenet5", 10).module.to(device) for _ in range(models)]
    classifiers = [ModuleClassifier(module, (1, 28, 28)) for module in modules]

    def loop(engine: str) -> list[Signature]:
        return [onepixel.signature(classifier, pixels=stride, engine=engine) for classifier in classifiers]

    runs: dict[str, Callable[[], object]] = {
        "a loop, exhaustive": lambda: loop("exhaustive"),
        "a loop, auto": lambda: loop("auto"),
        "stacked": lambda: signatures_of(classifiers, pixels=stride),
    }
    times = fastest(runs, device, repeats)
    slowest = times["a loop, exhaustive"]
    return [
        f"## {models} LeNet-5s on {device.type}, every {stride}th row and column",
        "",
        "| way | seconds | times as fast as the exhaustive loop |",
        "|---|---|---|",
        *(f"| {way} | {seconds:.2f} | {slowest / seconds:.2f} |" for way, seconds in times.items()),
        "",
    ]
