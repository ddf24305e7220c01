"""MNIST: 70,000 grey digits of 28 x 28 (LeCun et al. 1998)."""

from onepixel.datasets.idx import idx_source
from onepixel.datasets.table import DATASETS

DATASETS.add(idx_source("mnist", "MNIST"))
