"""One-pixel signatures: definitions, value grids, default images, and the engines that find the extremes."""

from onepixel.signatures.compute import ENGINES, describe_default_image, signature
from onepixel.signatures.definitions import DEFINITIONS, define
from onepixel.signatures.plan import Extremes, Plan, value_grid
from onepixel.signatures.stacked import signatures_of
from onepixel.signatures.value import Settings, Signature

__all__ = [
    "DEFINITIONS",
    "ENGINES",
    "Extremes",
    "Plan",
    "Settings",
    "Signature",
    "define",
    "describe_default_image",
    "signature",
    "signatures_of",
    "value_grid",
]
