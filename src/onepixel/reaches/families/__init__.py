"""Families: the kinds of change that an attacker could use as a trigger, one file each."""

from onepixel.reaches.families.blend import Blend
from onepixel.reaches.families.patch import Patch
from onepixel.reaches.families.table import FAMILIES, Family, FamilyKind
from onepixel.reaches.families.warp import Warp

__all__ = ["FAMILIES", "Blend", "Family", "FamilyKind", "Patch", "Warp"]
