"""Fashion-MNIST: 70,000 grey garments of 28 x 28 (Xiao, Rasul and Vollgraf 2017)."""

from onepixel.datasets.idx import idx_source
from onepixel.datasets.table import DATASETS

DATASETS.add(idx_source("fashion_mnist", "FashionMNIST"))
