"""Detectors: fitted on signatures of clean and trojaned classifiers; each scores one signature."""

from onepixel.detectors.detector import Detector
from onepixel.detectors.load import load_detector
from onepixel.detectors.metrics import Estimate, Evaluation, evaluate_scores
from onepixel.detectors.verdict import Verdict

__all__ = ["Detector", "Estimate", "Evaluation", "Verdict", "evaluate_scores", "load_detector"]
