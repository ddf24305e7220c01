"""Default images by name: black, white, a data set's mean, uniform noise, one of its training images, or class means.

An attacker who knows that probing starts from black can train against it; a defender may start elsewhere. One file for
each kind; its last lines put it into `DEFAULT_IMAGES`.
"""

from onepixel.populations.default_images.kept import read_default_image, write_default_image
from onepixel.populations.default_images.naming import (
    DefaultImage,
    default_image_of,
    parse_default_image,
    short_name,
)
from onepixel.populations.default_images.table import DEFAULT_IMAGES, DefaultImageKind

__all__ = [
    "DEFAULT_IMAGES",
    "DefaultImage",
    "DefaultImageKind",
    "default_image_of",
    "parse_default_image",
    "read_default_image",
    "short_name",
    "write_default_image",
]
