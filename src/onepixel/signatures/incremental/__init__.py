"""The incremental engine, from the traced operators to the extremes."""

from onepixel.signatures.incremental.engine import incremental

__all__ = ["incremental"]
