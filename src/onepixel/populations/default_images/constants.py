"""Black and white."""

from onepixel.populations.default_images.table import DEFAULT_IMAGES, DefaultImageKind

DEFAULT_IMAGES.add(DefaultImageKind("black", lambda dataset, number: 0.0, intensity=0.0))
DEFAULT_IMAGES.add(DefaultImageKind("white", lambda dataset, number: 1.0, intensity=1.0))
