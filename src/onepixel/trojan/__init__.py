"""Attacks: triggers, which classes they send where, the poison that enters a training set, and hiding from probes."""

from onepixel.trojan.attack import ATTACKS, Attack, AttackKind
from onepixel.trojan.attacks import AttackRecipe, draw_attack
from onepixel.trojan.blended import BlendedTrigger, BlendedTriggerRecipe
from onepixel.trojan.evasion import EvasionLoss, EvasionRecipe, Probes, draw_probes
from onepixel.trojan.patches import PatchTrigger, Range, TriggerRecipe
from onepixel.trojan.pictures import Pool
from onepixel.trojan.poison import Extras, Role, draw_extras, stamped_test_images
from onepixel.trojan.sinusoidal import SinusoidalTrigger, SinusoidalTriggerRecipe
from onepixel.trojan.trigger import TRIGGERS, Trigger, TriggerKind, TriggersRecipe
from onepixel.trojan.triggers import AnyTriggerRecipe, draw_trigger
from onepixel.trojan.warped import WarpedTrigger, WarpedTriggerRecipe

__all__ = [
    "ATTACKS",
    "TRIGGERS",
    "AnyTriggerRecipe",
    "Attack",
    "AttackKind",
    "AttackRecipe",
    "BlendedTrigger",
    "BlendedTriggerRecipe",
    "EvasionLoss",
    "EvasionRecipe",
    "Extras",
    "PatchTrigger",
    "Pool",
    "Probes",
    "Range",
    "Role",
    "SinusoidalTrigger",
    "SinusoidalTriggerRecipe",
    "Trigger",
    "TriggerKind",
    "TriggerRecipe",
    "TriggersRecipe",
    "WarpedTrigger",
    "WarpedTriggerRecipe",
    "draw_attack",
    "draw_extras",
    "draw_probes",
    "draw_trigger",
    "stamped_test_images",
]
