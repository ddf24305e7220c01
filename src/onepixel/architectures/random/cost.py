"""What a network costs for one image, counted from its description alone, so that draws are cheap to reject."""

from typing import Any

VALUE_COST = 40
"""What writing one value of a layer costs, in multiplications: on one core, maps cost more memory traffic than
arithmetic."""


def operations(drawn: dict[str, Any], shape: tuple[int, int, int], classes: int) -> int:
    """Multiplications in convolutions and dense layers for one image, and `VALUE_COST` per value that layers put out.

    Parameters
    ----------
    drawn : dict
        What was drawn; see `draw_network`.
    shape : (int, int, int)
        (C, H, W).
    classes : int
        K.
    """
    count = _Count(drawn)
    count.layers(shape[0] * shape[1] * shape[2])
    parts = {"convolutional": _convolutional, "perceptron": _perceptron, "transformer": _transformer}
    width = parts[drawn["family"]](count, drawn, shape)
    if drawn["dropout"]:
        count.layers(width)
    count.dense(width, classes)
    return count.total


class _Count:
    def __init__(self, drawn: dict[str, Any]) -> None:
        self.total = 0
        self.normalised = drawn.get("normalisation", "none") != "none"

    def layers(self, values: int, number: int = 1) -> None:
        """Layers that put out so many values each and multiply nothing that counts."""
        self.total += VALUE_COST * values * number

    def dense(self, before: int, after: int, rows: int = 1) -> None:
        """A dense layer, of `rows` vectors."""
        self.total += rows * after * (before + VALUE_COST)

    def convolution(self, before: int, after: int, kernel: int, area: int, groups: int = 1) -> None:
        """A convolution with maps of `area` pixels, and the normalisation after it."""
        self.total += area * after * (before // groups * kernel**2 + VALUE_COST)
        if self.normalised:
            self.layers(area * after)


def _strided(extent: int, kernel: int, stride: int) -> int:
    """Rows of a convolution's maps, padded by half its kernel."""
    return (extent + 2 * (kernel // 2) - kernel) // stride + 1


def _block(count: _Count, block: str, before: int, after: int, kernel: int, stride: int, size: tuple[int, int]) -> None:
    area = size[0] * size[1]
    if block == "depthwise":
        count.convolution(before, before, kernel, area, groups=before)
        count.layers(area * before)
        count.convolution(before, after, 1, area)
    else:
        count.convolution(before, after, kernel, area)
    if block == "residual":
        count.layers(area * after)
        count.convolution(after, after, 3, area)
        if before == after and stride == 1:
            count.layers(area * after)
        else:
            count.convolution(before, after, 1, area)
    count.layers(area * after)


def _convolutional(count: _Count, drawn: dict[str, Any], shape: tuple[int, int, int]) -> int:
    before, *size = shape
    stride = drawn["stem_stride"]
    if drawn["block"] != "plain" or stride != 1:
        size = [_strided(extent, 3, stride) for extent in size]
        stem = drawn["stages"][0]["width"]
        count.convolution(before, stem, 3, size[0] * size[1])
        count.layers(stem * size[0] * size[1])
        before = stem
    for stage in drawn["stages"]:
        width, kernel, how = stage["width"], stage["kernel"], stage["downsampling"]
        for repeat in range(stage["repeats"]):
            stride = 2 if how == "stride" and repeat == stage["repeats"] - 1 else 1
            size = [_strided(extent, kernel, stride) for extent in size]
            _block(count, drawn["block"], before, width, kernel, stride, (size[0], size[1]))
            before = width
        if how in ("max", "average"):
            size = [extent // 2 for extent in size]
            count.layers(width * size[0] * size[1])
    features = before * size[0] * size[1]
    if drawn["head"] != "flatten":
        features = before
        count.layers(features)
    count.layers(features)
    if drawn["hidden"]:
        count.dense(features, drawn["hidden"])
        count.layers(drawn["hidden"])
        features = drawn["hidden"]
    return features


def _perceptron(count: _Count, drawn: dict[str, Any], shape: tuple[int, int, int]) -> int:
    before = shape[0] * shape[1] * shape[2]
    count.layers(before)
    for width in drawn["widths"]:
        count.dense(before, width)
        count.layers(width, 1 + count.normalised)
        before = width
    return before


def _transformer(count: _Count, drawn: dict[str, Any], shape: tuple[int, int, int]) -> int:
    width, patch = int(drawn["width"]), drawn["patch"]
    tokens = (shape[1] // patch) * (shape[2] // patch)
    count.convolution(shape[0], width, patch, tokens)
    count.layers(tokens * width, 2)
    for _ in range(drawn["layers"]):
        # Beside each of the two bodies: its normalisation, and the shortcut.
        count.layers(tokens * width, 4)
        for before, after in ((width, 3 * width), (width, width), (width, 2 * width), (2 * width, width)):
            count.dense(before, after, rows=tokens)
        count.layers(tokens * 2 * width)
    count.layers(tokens * width)
    count.layers(width)
    return width
