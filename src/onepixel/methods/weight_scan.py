"""modelaudit's weight-distribution check: what people run today, called as a program with its telemetry off.

It looks for layers with neurons whose weights have abnormal magnitudes. It needs no images and asks nothing; the
network is handed over as an ONNX file, the one form of a plain network that its check reads.
"""

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from onepixel.classifiers import Classifier
from onepixel.errors import UndecidedError
from onepixel.methods.base import Needs, Network, Score, Stopwatch
from onepixel.methods.table import METHODS

PROGRAM_VARIABLE = "ONEPIXEL_MODELAUDIT"
"""Environment variable that names the program, where it is not on the path."""


@dataclass(frozen=True)
class WeightScan:
    """Count the layers of which modelaudit says "abnormal weight magnitudes".

    Parameters
    ----------
    limit : float
        Seconds that the program may take.
    """

    name: ClassVar[str] = "modelaudit"
    title: ClassVar[str] = "modelaudit, weights"
    paper: ClassVar[str] = "modelaudit (Promptfoo), weight_distribution scanner"
    needs: ClassVar[Needs] = Needs(weights=True)

    limit: float = 120.0

    @staticmethod
    def program() -> str | None:
        """Path of the program; None where it is not installed."""
        return os.environ.get(PROGRAM_VARIABLE) or shutil.which("modelaudit")

    def score(self, classifier: Classifier, images: NDArray[np.float32], labels: NDArray[np.int64]) -> Score:
        """Return the number of abnormal layers; images and labels are not looked at.

        Raises
        ------
        UndecidedError
            If the program is not installed, fails, or cannot be given the network.
        """
        program = self.program()
        if program is None:
            raise UndecidedError(
                "modelaudit is not installed; `pip install modelaudit onnx` in an environment does it."
            )
        watch, network = Stopwatch(), Network(classifier)
        with tempfile.TemporaryDirectory(prefix="onepixel-") as folder:
            file = Path(folder) / "model.onnx"
            example = torch.zeros((1, *classifier.input_shape), device=network.device, dtype=network.dtype)
            with network.frozen():
                torch.onnx.export(network.module, (example,), str(file), dynamo=False, verbose=False)
            abnormal = [issue for issue in self._issues(program, file) if "abnormal weight" in issue["message"]]
        return Score(float(len(abnormal)), bool(abnormal), None, (), 0, watch.seconds)

    def _issues(self, program: str, file: Path) -> list[dict[str, Any]]:
        quiet = {"PROMPTFOO_DISABLE_TELEMETRY": "1", "NO_ANALYTICS": "1", "HOME": str(file.parent)}
        command = [program, "scan", "--no-cache", "--scanners", "weight_distribution", "--format", "json", file.name]
        try:
            answer = subprocess.run(
                command,
                cwd=file.parent,
                env={**os.environ, **quiet},
                capture_output=True,
                timeout=self.limit,
                check=False,
            )
            issues: list[dict[str, Any]] = json.loads(answer.stdout)["issues"]
        except (OSError, subprocess.TimeoutExpired, ValueError, KeyError) as error:
            raise UndecidedError("modelaudit gave no answer that could be read.") from error
        return issues


METHODS.add(WeightScan())
