"""onepixel: does an image classifier that somebody else trained carry a backdoor?

Implements the one-pixel signature of Huang, Peng, Jia and Tu (ECCV 2020; ICLR 2020 submission).
"""

from onepixel.classifiers import Classifier, as_classifier
from onepixel.errors import OnepixelError
from onepixel.signatures import Settings, Signature, signature

__all__ = ["Classifier", "OnepixelError", "Settings", "Signature", "as_classifier", "signature"]
__version__ = "0.1.0"
