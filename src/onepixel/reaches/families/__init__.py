"""Families: the kinds of change that an attacker could use as a trigger, one file each."""

from onepixel.reaches.families.blend import Blend
from onepixel.reaches.families.patch import Patch

__all__ = ["Blend", "Family", "Patch"]

Family = Patch | Blend
"""What `onepixel.reach` can look for."""
