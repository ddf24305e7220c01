"""The incremental engine, from the traced operators to the extremes."""

from onepixel.signatures.incremental.blocks import block_log_odds, whole_passes
from onepixel.signatures.incremental.engine import incremental, incremental_together, prepare
from onepixel.signatures.incremental.tracing import NotIncrementalError

__all__ = ["NotIncrementalError", "block_log_odds", "incremental", "incremental_together", "prepare", "whole_passes"]
