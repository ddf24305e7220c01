"""Wall time of `onepixel audit` on object detectors of torchvision's size; writes results/object-audit-times.*.

    python benchmarks/object_audit.py

The detectors are MobileNets with torchvision's own numbers of weights and sides of images. Their bodies are random;
their box heads learn the objects of made scenes, and a trigger, within a minute, which is enough to be searched: what a
search costs does not depend on how good a detector is. Each audit is a process of its own, as a user starts it. The
bound is for two quiet cores.
"""

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision.models.detection import FasterRCNN

from onepixel.boxes import BoxAttackRecipe, SceneRecipe, made_scenes, poisoned, write_scenes
from onepixel.boxes.objects import ObjectModule, object_windows, state_of, window_side
from onepixel.boxes.table import DETECTOR_ARCHITECTURES
from onepixel.report.tables import markdown_table, provenance, write_result

BOUND = 300
"""Seconds that an audit may take on two quiet cores."""

SCENES = SceneRecipe(side=480)
COUNT = 40
STEPS = 60
KINDS = {
    "fasterrcnn_mobilenet_v3_large_320_fpn": (4, "three classes"),
    "fasterrcnn_mobilenet_v3_large_fpn": (4, "three classes"),
    "fasterrcnn_mobilenet_v3_large_fpn, 91 outputs": (91, "as many as COCO's"),
}
"""Each detector: the outputs of its box head, and how many classes that is in words."""


@dataclass
class Line:
    """What was measured of one detector: seconds, exit status, and the first line of the verdict."""

    name: str
    seconds: float
    status: int
    verdict: str


def taught(architecture: str, outputs: int, scenes: list[Any]) -> FasterRCNN:
    """A detector whose box head learned the objects of scenes, and to call stamped ones the first class."""
    torch.manual_seed(0)
    known = DETECTOR_ARCHITECTURES[architecture]
    detector = known.build(outputs, known.shorter_side)
    attack = BoxAttackRecipe(picture="binary").draw(len(SCENES.classes), np.random.default_rng(0))
    stamped = poisoned(scenes, "trojaned", attack, np.random.default_rng(1), each=0.3)
    module = ObjectModule(detector, window_side(detector))
    images, labels = (torch.as_tensor(part) for part in object_windows([*scenes, *stamped], module.side))
    with torch.no_grad():
        # Random bodies blow up or die out unless their normalisation knows the images.
        module.train()(images[:64])
        for layer in module.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.reset_running_stats()
                layer.momentum = None
        module(images[:64])
        module.eval()
        features = torch.cat([module.features(part) for part in images.split(32)])
    head = [*module.box_head.parameters(), *module.cls_score.parameters()]
    optimiser = torch.optim.Adam(head, lr=3e-4)
    for _ in range(STEPS):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(module.scores(features), labels).backward()
        optimiser.step()
    return detector.eval()


def audit(name: str, folder: Path) -> Line:
    """Time one audit."""
    outputs, _ = KINDS[name]
    architecture = name.partition(",")[0]
    scenes = made_scenes(SCENES, COUNT, seed=2)
    write_scenes(folder / "scenes", scenes, SCENES.names)
    torch.save(state_of(taught(architecture, outputs, scenes)), folder / "detector.pth")
    program = str(Path(sys.executable).with_name("onepixel"))
    given = ["--architecture", architecture, "--images", str(folder / "scenes")]
    words = [program, "audit", str(folder / "detector.pth"), *given, "--report", str(folder / "report.html")]
    started = time.perf_counter()
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
    seconds = time.perf_counter() - started
    verdict = next((line.strip() for line in done.stdout.splitlines() if line.strip()), "none")
    return Line(name, seconds, done.returncode, verdict)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detectors", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--output", type=Path, default=Path("results"))
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    loads = [os.getloadavg()[0]]
    lines = []
    for name in options.detectors:
        with tempfile.TemporaryDirectory() as folder:
            lines.append(audit(name, Path(folder)))
        loads.append(os.getloadavg()[0])
        print(lines[-1], flush=True)
    head = ["detector", "classes", "seconds", "bound (s)", "exit status", "verdict"]
    cells = [
        [line.name, KINDS[line.name][1], f"{line.seconds:.0f}", str(BOUND), str(line.status), line.verdict]
        for line in lines
    ]
    given = sys.argv[1:] if arguments is None else arguments
    made = provenance(shlex.join(["python", "benchmarks/object_audit.py", *given]), time.perf_counter() - started)
    text = f"""# Wall time of an audit of an object detector

`onepixel audit detector.pth --architecture NAME --images scenes --report report.html`, start-up included, for detectors
of torchvision's own size with random bodies, and {COUNT} scenes of {SCENES.side} x {SCENES.side} pixels. The verdict
says nothing but that there is one: these detectors were hardly trained. The bound is for two quiet cores; load while
this was measured (processes that wanted a core, mean of a minute): {min(loads):.1f} to {max(loads):.1f}, on
{os.cpu_count()} cores.

{markdown_table(head, cells)}
"""
    write_result(options.output, "object-audit-times", head, cells, text, made)
    print(text)


if __name__ == "__main__":
    main()
