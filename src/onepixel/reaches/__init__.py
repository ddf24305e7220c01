"""Responses and reaches: how cheaply real images of one class, or of all, can be driven to another.

The package is called `reaches`, as `signatures` is, because `onepixel.reach` is the function.
"""

from onepixel.reaches.change import Change
from onepixel.reaches.families import Blend, Family, Patch, Warp
from onepixel.reaches.respond import response
from onepixel.reaches.response_value import Response
from onepixel.reaches.samples import SampleImages, sample_images
from onepixel.reaches.search import SEARCHES, reach
from onepixel.reaches.value import EVERY_SOURCE, Reach

__all__ = [
    "EVERY_SOURCE",
    "SEARCHES",
    "Blend",
    "Change",
    "Family",
    "Patch",
    "Reach",
    "Response",
    "SampleImages",
    "Warp",
    "reach",
    "response",
    "sample_images",
]
