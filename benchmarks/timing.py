"""How long several ways to the same take, side by side, and what processes took."""

import resource
import time
from collections.abc import Callable

import torch


def fastest(runs: dict[str, Callable[[], object]], device: torch.device, repeats: int) -> dict[str, float]:
    """The fastest of several runs of each, taken in turns, in seconds."""
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if device.type == "cuda":
                torch.cuda.synchronize()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def processor_time() -> float:
    """Processor time of all children that have ended, their own children included, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
