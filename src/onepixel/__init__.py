"""onepixel: does an image classifier that somebody else trained carry a backdoor?

Implements the one-pixel signature of Huang, Peng, Jia and Tu (ECCV 2020; ICLR 2020 submission).

Public names are imported when they are first used: importing torch takes seconds, which a usage message or a file
that is refused need not wait for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from onepixel.errors import OnepixelError
from onepixel.version import __version__

if TYPE_CHECKING:
    from onepixel.classifiers import Classifier, as_classifier
    from onepixel.detectors import Detector, Verdict, load_detector
    from onepixel.detectors.auditing import audit
    from onepixel.loading import load_classifier
    from onepixel.opening import Limits
    from onepixel.opening.endpoint.settings import EndpointSettings
    from onepixel.reaches import reach, response
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
    "__version__",
    "as_classifier",
    "audit",
    "load_classifier",
    "load_detector",
    "reach",
    "response",
    "signature",
]

HOMES = {
    "Classifier": "onepixel.classifiers",
    "Detector": "onepixel.detectors",
    "EndpointSettings": "onepixel.opening.endpoint.settings",
    "Limits": "onepixel.opening",
    "Settings": "onepixel.signatures",
    "Signature": "onepixel.signatures",
    "Verdict": "onepixel.detectors",
    "as_classifier": "onepixel.classifiers",
    "audit": "onepixel.detectors.auditing",
    "load_classifier": "onepixel.loading",
    "load_detector": "onepixel.detectors",
    "reach": "onepixel.reaches",
    "response": "onepixel.reaches",
    "signature": "onepixel.signatures",
}
"""Where each public name that needs torch lives."""


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'onepixel' has no attribute {name!r}")
    return getattr(import_module(HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *HOMES})
