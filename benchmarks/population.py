"""Networks per hour at equal accuracy, and time to accuracy; writes results/population-benchmark.*.

    python benchmarks/population.py                                 # LeNet-5 on MNIST, minutes
    python benchmarks/population.py --quick                         # digits, for a first look
    python benchmarks/population.py --device cuda                   # one stack on a GPU, and the loop on the same GPU
    python benchmarks/population.py --population populations/clean  # accuracy and cost of what was built before

What onepixel is measured against is the loop that public code of this field trains a population with: one network at
a time, a torchvision data set with transforms behind a DataLoader, Adam with a constant learning rate, batches of 64.
The loop gets every advantage: all cores, the best of several numbers of DataLoader workers, its evaluations are not
counted, and it stops at the first epoch that reaches onepixel's mean accuracy. onepixel's own time counts everything:
the start of its processes, attacks, retries, evaluation and the store. Signatures, which the loop has none of, are
left out but for two values per pixel.
"""

import argparse
import re
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from onepixel.architectures import architecture
from onepixel.datasets import load_dataset
from onepixel.datasets.local import data_folders
from onepixel.files import write_text
from onepixel.populations import (
    Executor,
    LocalExecutor,
    Recipe,
    SignatureRecipe,
    StackedExecutor,
    Store,
    Thresholds,
    TrainingRecipe,
    build,
    open_population,
    train_model,
)
from onepixel.report.tables import markdown_table, percent, provenance, write_csv
from onepixel.trojan import AttackRecipe, TriggerRecipe

LOOP_BATCH = 64
LOOP_LEARNING_RATE = 1e-3
LOADER_WORKERS = (0, 2)
CLAIMED_ACCURACY = 0.989

MNIST = Recipe(
    name="benchmark",
    role="clean",
    signature=SignatureRecipe(values=2),
    thresholds=Thresholds(enforced=False),
)
DIGITS = MNIST.model_copy(
    update={
        "dataset": "digits",
        "architecture": "digits_cnn",
        "training": TrainingRecipe(epochs=4, batch_size=64, learning_rate=1e-2),
        "attack": AttackRecipe(poisoned_images=150),
        "trigger": TriggerRecipe(patterns=(1, 1), height=(2, 2), width=(2, 2), largest_area=0.0625),
    }
)


@dataclass(frozen=True)
class Line:
    """One way of training networks.

    Attributes
    ----------
    way : str
    networks : int
    epochs : float
        Passes over the training set, per network.
    accuracy : float
        Mean over the networks, on the test part.
    seconds : float
        Per network, wall clock.
    """

    way: str
    networks: int
    epochs: float
    accuracy: float
    seconds: float

    @property
    def per_hour(self) -> float:
        """Networks per hour."""
        return 3600 / self.seconds


class Pictures(Dataset[tuple[Any, int]]):
    """The digits as torchvision's data sets give theirs: a picture made of each sample, then the transform."""

    def __init__(self, train: bool, transform: Callable[[Image.Image], torch.Tensor]) -> None:
        digits = load_dataset("digits")
        self.data, self.targets = (digits.x_train, digits.y_train) if train else (digits.x_test, digits.y_test)
        self.transform = transform

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.data[index, 0].numpy())), int(self.targets[index])


def pictures(name: str, train: bool) -> Dataset[tuple[Any, int]]:
    transform = torchvision.transforms.ToTensor()
    if name == "digits":
        return Pictures(train, transform)
    load_dataset(name)
    root = next(root for root in data_folders() if (root / "MNIST" / "raw" / "train-images-idx3-ubyte").is_file())
    return torchvision.datasets.MNIST(str(root), train=train, transform=transform)


def loop_network(
    recipe: Recipe, target: float, longest: int, loader_workers: int, device: torch.device
) -> tuple[float, int, float]:
    """Train one network in the plain loop until it reaches the target; seconds, epochs, accuracy."""
    training = DataLoader(
        pictures(recipe.dataset, train=True), batch_size=LOOP_BATCH, shuffle=True, num_workers=loader_workers
    )
    testing = DataLoader(pictures(recipe.dataset, train=False), batch_size=1000, num_workers=loader_workers)
    module = architecture(recipe.architecture).build(load_dataset(recipe.dataset).classes).to(device)
    optimizer = torch.optim.Adam(module.parameters(), lr=LOOP_LEARNING_RATE)
    seconds, accuracy, epoch = 0.0, 0.0, 0
    while accuracy < target and epoch < longest:
        started = time.perf_counter()
        module.train()
        for images, labels in training:
            optimizer.zero_grad()
            loss = functional.cross_entropy(module(images.to(device)), labels.to(device))
            loss.backward()
            optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds += time.perf_counter() - started
        epoch += 1
        accuracy = loop_accuracy(module, testing, device)
    return seconds, epoch, accuracy


def loop_accuracy(module: nn.Module, testing: DataLoader[tuple[Any, int]], device: torch.device) -> float:
    module.eval()
    with torch.inference_mode():
        right = [(module(images.to(device)).argmax(dim=1).cpu() == labels).sum() for images, labels in testing]
    return float(sum(right)) / len(testing.dataset)  # type: ignore[arg-type]


def loop_lines(recipe: Recipe, target: float, networks: int, longest: int, device: torch.device) -> list[Line]:
    lines = []
    for workers in LOADER_WORKERS:
        runs = np.array([loop_network(recipe, target, longest, workers, device) for _ in range(networks)])
        seconds, epochs, accuracy = runs.mean(axis=0)
        lines.append(Line(f"loop on {device.type}, {workers} DataLoader workers", networks, epochs, accuracy, seconds))
        say(lines[-1])
    return lines


def onepixel_line(way: str, recipe: Recipe, executor: Executor) -> Line:
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        store = build(recipe, Path(folder) / "store", executor=executor)
        seconds = (time.perf_counter() - started) / recipe.models
        accuracy = float(np.mean([record.clean_accuracy for record in store.records()]))
    line = Line(way, recipe.models, recipe.training.epochs, accuracy, seconds)
    say(line)
    return line


def say(line: Line) -> None:
    print(f"{line.way}: {line.per_hour:.0f} networks per hour, accuracy {line.accuracy:.2%}", file=sys.stderr)


def on_the_processor(recipe: Recipe, options: argparse.Namespace) -> tuple[list[Line], str]:
    """One worker, all workers, and the loop; and what that says."""
    alone, all_cores = LocalExecutor(1), LocalExecutor()
    one = onepixel_line("onepixel, 1 worker", recipe.model_copy(update={"models": options.networks}), alone)
    grown = recipe.model_copy(update={"models": options.networks * all_cores.workers})
    many = onepixel_line(f"onepixel, {all_cores.workers} workers", grown, all_cores)
    target = min(one.accuracy, many.accuracy)
    loops = loop_lines(recipe, target, options.loop_networks, options.longest, torch.device("cpu"))
    words = (
        f"{against(many, loops, target)} From one worker to {all_cores.workers}: "
        f"{many.per_hour / one.per_hour:.2f} times as many networks per hour."
    )
    return [one, many, *loops], words


def in_stacks(recipe: Recipe, options: argparse.Namespace) -> tuple[list[Line], str]:
    """Stacks, and the loop on the same device; and what that says."""
    training = recipe.training.model_copy(update={"stack_size": options.stacked})
    stacks = recipe.model_copy(update={"models": options.stacked * options.stacks, "training": training})
    way = f"onepixel, {options.stacks} stack(s) of {options.stacked} on {options.device}"
    stacked = onepixel_line(way, stacks, StackedExecutor(options.device, workers=options.stacks))
    loops = loop_lines(recipe, stacked.accuracy, options.loop_networks, options.longest, torch.device(options.device))
    return [stacked, *loops], against(stacked, loops, stacked.accuracy)


def against(ours: Line, loops: Sequence[Line], target: float) -> str:
    """The ratio to the best loop, and whether the loops reached the accuracy."""
    best = max(loops, key=lambda line: line.per_hour)
    missed = "" if min(line.accuracy for line in loops) >= target else " (the loop did not reach that accuracy)"
    return (
        f"{ours.way}: {ours.per_hour / best.per_hour:.1f} times the networks per hour of the best {best.way}, "
        f"at {target:.2%} accuracy{missed}."
    )


def time_to_accuracy(recipe: Recipe, population: Path | None) -> str:
    """Core-seconds of two networks trained here with one thread; accuracy and cost of a population built before."""
    dataset = load_dataset(recipe.dataset)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    started = time.process_time()
    here = [train_model(recipe, dataset, recipe.seed_for(slot, 0)).clean_accuracy for slot in range(2)]
    cost = (time.process_time() - started) / len(here)
    torch.set_num_threads(threads)
    words = [f"Two networks trained here, one thread: {cost:.1f} core-seconds each, accuracy {percent(here)} %."]
    if population is not None:
        found = open_population(population)
        first = [r.failures[0][0] if r.failures else r.clean_accuracy for r in found.records()]
        enough = np.mean([accuracy >= CLAIMED_ACCURACY for accuracy in first])
        words.append(
            f"{population}: {len(first)} networks, one per seed, first attempts only: accuracy {percent(first)} % "
            f"(mean ± standard deviation), {min(first):.2%} to {max(first):.2%}; {enough:.0%} of them reach "
            f"{CLAIMED_ACCURACY:.1%}; {found.recipe.training.epochs:g} epochs."
        )
        seconds = logged_seconds(found) if isinstance(found, Store) else []
        if seconds:
            words.append(
                f"Its log: {np.mean(seconds):.1f} s of one worker with one thread per slot, retries and signatures of "
                f"{found.recipe.signature.values} values included."
            )
    return "\n".join(f"- {sentence}" for sentence in words)


def logged_seconds(store: Store) -> list[float]:
    log = store.folder / "build.log"
    text = log.read_text(encoding="utf-8") if log.exists() else ""
    return [float(seconds) for seconds in re.findall(r"^slot \d+ ([\d.]+) s", text, re.MULTILINE)]


def markdown(lines: Sequence[Line], sentence: str, accuracy: str, recipe: Recipe) -> str:
    head = ["way", "networks", "epochs", "accuracy (%)", "seconds per network", "networks per hour"]
    cells = [
        [
            line.way,
            line.networks,
            f"{line.epochs:.1f}",
            f"{line.accuracy:.2%}".rstrip("%"),
            f"{line.seconds:.1f}",
            f"{line.per_hour:.0f}",
        ]
        for line in lines
    ]
    return f"""# Populations: networks per hour, {recipe.architecture} on {recipe.dataset}

{sentence}

{markdown_table(head, cells)}

The loop trains one network at a time with all cores: a data set with transforms behind a DataLoader, Adam with a
constant learning rate of {LOOP_LEARNING_RATE:g}, batches of {LOOP_BATCH}; it is stopped at the first epoch that
reaches onepixel's accuracy, and its evaluations are not counted. onepixel's time is everything from the start of its
processes to the finished store; signatures are left out but for {recipe.signature.values} values per pixel.
{f"{chr(10)}## Time to accuracy{chr(10)}{chr(10)}{accuracy}{chr(10)}" if accuracy else ""}"""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="digits instead of MNIST, two networks per worker")
    parser.add_argument("--networks", type=int, default=None, help="per worker; 6 unless given")
    parser.add_argument("--loop-networks", type=int, default=None, help="per way of the loop; 2 unless given")
    parser.add_argument("--longest", type=int, default=30, help="epochs after which the loop gives up")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where both sides train")
    parser.add_argument("--stacked", type=int, default=64, help="networks that are stacked on a GPU")
    parser.add_argument("--stacks", type=int, default=1, help="stacks that a GPU trains at once")
    parser.add_argument("--population", type=Path, help="a clean population whose accuracies are reported too")
    parser.add_argument("--output", type=Path, default=Path("results"))
    options = parser.parse_args(arguments)
    options.networks = options.networks or (2 if options.quick else 6)
    options.loop_networks = options.loop_networks or (1 if options.quick else 2)
    started = time.perf_counter()
    recipe = DIGITS if options.quick else MNIST
    on_gpu = options.device == "cuda"
    lines, sentence = (in_stacks if on_gpu else on_the_processor)(recipe, options)
    accuracy = "" if on_gpu else time_to_accuracy(recipe, options.population)
    options.output.mkdir(parents=True, exist_ok=True)
    target = options.output / f"population-benchmark{'-cuda' if on_gpu else ''}"
    write_csv(
        target.with_suffix(".csv"),
        [*(column.name for column in fields(Line)), "networks_per_hour"],
        [[*astuple(line), line.per_hour] for line in lines],
    )
    given = sys.argv[1:] if arguments is None else arguments
    command = shlex.join(["python", "benchmarks/population.py", *given])
    text = markdown(lines, sentence, accuracy, recipe) + "\n" + provenance(command, time.perf_counter() - started)
    write_text(target.with_suffix(".md"), text)


if __name__ == "__main__":
    main()
