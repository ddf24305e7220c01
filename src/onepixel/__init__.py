"""onepixel: does an image classifier that somebody else trained carry a backdoor?

Implements the one-pixel signature of Huang, Peng, Jia and Tu (ECCV 2020; ICLR 2020 submission).

Public names are imported when they are first used: importing torch takes seconds, which a usage message or a file
that is refused need not wait for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from onepixel.errors import OnepixelError

if TYPE_CHECKING:
    from onepixel.classifiers import Classifier, as_classifier
    from onepixel.classifiers.endpoint import EndpointSettings
    from onepixel.detectors import Detector, Verdict, load_detector
    from onepixel.opening import Limits, load_classifier
    from onepixel.signatures import Settings, Signature, signature

__all__ = [
    "Classifier",
    "Detector",
    "EndpointSettings",
    "Limits",
    "OnepixelError",
    "Settings",
    "Signature",
    "Verdict",
    "as_classifier",
    "load_classifier",
    "load_detector",
    "signature",
]
__version__ = "0.1.0"

HOMES = {
    "Classifier": "onepixel.classifiers",
    "Detector": "onepixel.detectors",
    "EndpointSettings": "onepixel.classifiers.endpoint",
    "Limits": "onepixel.opening",
    "Settings": "onepixel.signatures",
    "Signature": "onepixel.signatures",
    "Verdict": "onepixel.detectors",
    "as_classifier": "onepixel.classifiers",
    "load_classifier": "onepixel.opening",
    "load_detector": "onepixel.detectors",
    "signature": "onepixel.signatures",
}
"""Where each public name that needs torch lives."""


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'onepixel' has no attribute {name!r}")
    return getattr(import_module(HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *HOMES})
