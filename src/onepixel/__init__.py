"""onepixel: does an image classifier that somebody else trained carry a backdoor?

Implements the one-pixel signature of Huang, Peng, Jia and Tu (ECCV 2020; ICLR 2020 submission).
"""

from onepixel.classifiers import Classifier, as_classifier
from onepixel.detectors import Detector, Verdict, load_detector
from onepixel.errors import OnepixelError
from onepixel.signatures import Settings, Signature, signature

__all__ = [
    "Classifier",
    "Detector",
    "OnepixelError",
    "Settings",
    "Signature",
    "Verdict",
    "as_classifier",
    "load_detector",
    "signature",
]
__version__ = "0.1.0"
