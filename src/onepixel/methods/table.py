"""The table of compared methods; each method's file puts itself into it."""

from onepixel.methods.base import Method
from onepixel.registry import Table

METHODS: Table[Method] = Table("method", "onepixel.methods")
"""Every compared method by its name, with settings that take seconds on a processor."""
