"""Networks of random architecture: a space, a draw from it as plain JSON, and the module that a draw describes.

docs/kinds.md has the space as a table.
"""

from onepixel.architectures.random.draw import draw_network
from onepixel.architectures.random.network import RandomNetwork
from onepixel.architectures.random.space import NetworkRecipe

__all__ = ["NetworkRecipe", "RandomNetwork", "draw_network"]
