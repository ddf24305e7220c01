"""Make the pictures of docs/concepts/ from the example models and the shipped detector.

    python docs/pictures.py

They are kept small: sixteen greys each, no more points than the page shows.
"""

from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image

import onepixel

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
EXAMPLES = HERE.parent / "examples"
WIDTH = 7.2
KINDS = {"clean": "#2b6cb0", "trojaned": "#c53030"}


def example(name: str) -> onepixel.Classifier:
    """One of the two example models."""
    return onepixel.load_classifier(EXAMPLES / f"{name}.safetensors", architecture="lenet5", normalize="none")


def save(figure: plt.Figure, name: str) -> None:
    """Write a figure, and reduce it to few colours."""
    path = HERE / "images" / f"{name}.png"
    figure.savefig(path, dpi=100, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
    Image.open(path).convert("RGB").quantize(32).save(path, optimize=True)


def probe(images: np.ndarray) -> None:
    """One pixel of a black image, one pixel of the mean image of a class, a patch on that image."""
    black = np.zeros((28, 28))
    three = np.array(images[3]).reshape(28, 28)
    figure, axes = plt.subplots(1, 3, figsize=(WIDTH, 2.6))
    titles = ("a pixel of a black image", "a pixel of the threes' mean image", "a patch of 5 x 5 pixels")
    for axis, image, size, title in zip(axes, (black, three, three), (1, 1, 5), titles, strict=True):
        changed = image.copy()
        changed[6 : 6 + size, 6 : 6 + size] = 1
        axis.imshow(changed, cmap="gray", vmin=0, vmax=1)
        axis.set_title(title, fontsize=8)
        axis.set_axis_off()
    save(figure, "probe")


def signatures() -> None:
    """The ten channels of a clean and a trojaned network, from black: log-odds gained at most by one pixel."""
    figure, axes = plt.subplots(2, 10, figsize=(WIDTH, 1.9))
    for row, name in zip(axes, KINDS, strict=True):
        channels = onepixel.signature(example(name), values=32).values("log_odds")
        for digit, (axis, channel) in enumerate(zip(row, channels, strict=True)):
            axis.imshow(channel, cmap="gray", vmin=0, vmax=3)
            axis.set_xticks([])
            axis.set_yticks([])
            if name == "clean":
                axis.set_title(str(digit), fontsize=8)
        row[0].set_ylabel(name, fontsize=8)
    save(figure, "signature")


def p_value(detector: onepixel.Detector, scores: dict[str, float]) -> None:
    """Where the two examples' scores lie among those of the calibration models."""
    figure, axis = plt.subplots(figsize=(WIDTH, 2.2))
    axis.hist(detector.calibration_scores_, bins=40, color="#a0aec0", label="100 clean calibration models")
    axis.axvline(detector.threshold_, color="black", linestyle="--", linewidth=1, label="threshold")
    for name, score in scores.items():
        axis.axvline(score, color=KINDS[name], linewidth=2, label=f"the {name} example")
    axis.set_xlabel("score", fontsize=8)
    axis.set_ylabel("models", fontsize=8)
    axis.tick_params(labelsize=8)
    axis.legend(fontsize=8)
    save(figure, "p-value")


def main() -> None:
    """Make all of them."""
    detector = onepixel.load_detector("mnist-lenet5")
    probe(detector.default_image_)
    signatures()
    p_value(detector, {name: detector.audit(example(name)).score for name in KINDS})


if __name__ == "__main__":
    main()
