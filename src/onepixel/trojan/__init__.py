"""Attacks: triggers, which classes they send where, and the poison that enters a training set."""

from onepixel.trojan.attacks import Attack, AttackRecipe, draw_attack
from onepixel.trojan.poison import Extras, Role, draw_extras, stamped_test_images
from onepixel.trojan.triggers import PatchTrigger, Trigger, TriggerRecipe, draw_trigger

__all__ = [
    "Attack",
    "AttackRecipe",
    "Extras",
    "PatchTrigger",
    "Role",
    "Trigger",
    "TriggerRecipe",
    "draw_attack",
    "draw_extras",
    "draw_trigger",
    "stamped_test_images",
]
