"""Make images.npz: the first eight MNIST test images of each class, for `onepixel audit --images`."""

from pathlib import Path

import numpy as np

from onepixel.datasets import load_dataset

dataset = load_dataset("mnist")
labels = dataset.y_test.numpy()
chosen = np.concatenate([np.flatnonzero(labels == label)[:8] for label in range(10)])
np.savez_compressed(
    Path(__file__).parent / "images.npz",
    images=dataset.x_test.numpy()[chosen, 0],
    labels=labels[chosen].astype(np.uint8),
)
