"""The version of onepixel, here and nowhere else."""

__version__ = "0.1.0"
