"""The networks of the papers and others, by name, and torchvision's for ImageNet.

One file for each; its last line puts it into `ARCHITECTURES`.
"""

from onepixel.architectures.table import ARCHITECTURES, Architecture

__all__ = ["ARCHITECTURES", "Architecture", "architecture"]


def architecture(name: str) -> Architecture:
    """The architecture of that name.

    Raises
    ------
    UsageError
        If there is none.
    """
    return ARCHITECTURES[name]
