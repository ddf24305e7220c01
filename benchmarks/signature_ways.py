"""Every way to one network's signature, timed in turns: single images, the best batches, and each engine."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit

import onepixel
from best_batches import ask_in_batches, best_batches
from onepixel import Signature
from onepixel.errors import OnepixelError
from onepixel.signatures import ENGINES, Plan, value_grid
from peak_memory import peak_memory
from roofline import multiply_add_rate, window_multiply_adds
from signature_subjects import Subject
from timing import fastest


@dataclass(frozen=True)
class Row:
    """One way to a signature, on one network; `seconds` is for all pixels, `measured` what it was scaled from."""

    network: str
    weights: str
    way: str
    values: int
    measured: str
    seconds: float
    faster_than_one_at_a_time: float
    faster_than_best_batches: float
    share_of_roofline: float
    queries: int
    largest_difference: float
    peak_mebibytes: float
    roofline_seconds: float
    note: str


def measure(subject: Subject, device: torch.device, repeats: int, memory: bool) -> list[Row]:
    """All ways to one network's signature, timed in turns."""
    network = subject.network()
    classifier = subject.classifier(network, device)
    mask, (_, height, width) = subject.mask(), subject.shape
    images = subject.default_images
    plan = Plan.make(classifier, value_grid(subject.values), images[0], mask)
    cells = len(images) * height * width * subject.values
    few = 32 if subject.sampled_rows else 256

    def signature(engine: str, pixels: NDArray[np.bool_]) -> Signature:
        return onepixel.signature(classifier, values=subject.values, default_image=images, pixels=pixels, engine=engine)

    compared = subject.first_rows(1 if subject.sampled_rows else 2)
    exact = signature("exhaustive", compared)
    differences: dict[str, float] = {}
    for engine in ENGINES:
        try:
            differences[engine] = largest_difference(signature(engine, compared), exact)
        except OnepixelError as error:
            print(f"{subject.title}: {engine}: {error}", file=sys.stderr)
    del differences["exhaustive"]

    found: dict[str, Signature] = {}

    def keep(engine: str) -> None:
        found[engine] = signature(engine, mask)

    batched, asked, best_name = best_batches(classifier, plan, 4 * few, repeats)
    one, best = "one image at a time", "best batches"
    runs: dict[str, Callable[[], object]] = {
        one: lambda: ask_in_batches(classifier, plan, 1, few, torch.contiguous_format),
        best: batched,
        **{engine: partial(keep, engine) for engine in differences},
    }
    one_row = subject.first_rows(1)
    if subject.sampled_rows:
        runs |= {f"{engine}, one row": partial(signature, engine, one_row) for engine in differences}
    times = fastest(runs, device, repeats)
    of_all = {one: few / cells, best: asked / cells, **dict.fromkeys(differences, len(images) * plan.cells / cells)}
    seconds = {way: times[way] / of_all[way] for way in of_all}
    if subject.sampled_rows:
        for engine in differences:
            seconds[engine] = of_all_rows(times[f"{engine}, one row"], times[engine], subject.sampled_rows, height)
    windows, full = window_multiply_adds(classifier, mask)
    roofline = windows * cells / multiply_add_rate(device, classifier.dtype)
    measured = {one: f"{few:,} images", best: f"{asked:,} images"}
    notes = {best: f"{best_name}; the windows need {windows / full:.1%} of the multiply-adds"}
    peaks = {way: peak_memory(subject, way, device.type) for way in ("exhaustive", *differences)} if memory else {}
    return [
        Row(
            network=subject.title,
            weights=network.weights,
            way=way,
            values=subject.values,
            measured=measured.get(way, f"{len(plan.pixels):,} of {mask.size:,} pixels"),
            seconds=seconds[way],
            faster_than_one_at_a_time=seconds[one] / seconds[way],
            faster_than_best_batches=seconds[best] / seconds[way],
            roofline_seconds=roofline,
            share_of_roofline=roofline / seconds[way],
            queries=round(found[way].queries / of_all[way]) if way in found else cells + 1,
            largest_difference=differences.get(way, 0.0),
            peak_mebibytes=peaks.get("exhaustive" if way == best else way, float("nan")),
            note=found[way].note if way in found else notes.get(way, ""),
        )
        for way in of_all
    ]


def of_all_rows(one: float, several: float, sampled: int, rows: int) -> float:
    """Seconds for all rows, from the seconds of one and of several: a part that is always there, and one per row."""
    per_row = max(several - one, 0.0) / (sampled - 1)
    return one + (rows - 1) * per_row


def largest_difference(found: Signature, exact: Signature) -> float:
    """In probability, over low and high, on the pixels that both visited."""
    seen = found.visited & exact.visited
    pairs = [(found.low, exact.low), (found.high, exact.high)]
    return max(float(np.abs(expit(ours[:, seen]) - expit(true[:, seen])).max()) for ours, true in pairs)
