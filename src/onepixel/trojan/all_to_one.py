"""Every class is sent to one."""

import numpy as np

from onepixel.trojan.attack import ATTACKS, Asked, Attack, AttackKind, draw_source_and_target


def draw(asked: Asked, classes: int, rng: np.random.Generator) -> Attack:
    """Draw the target where it is not said."""
    _, target = draw_source_and_target(asked, classes, rng)
    return Attack((target,) * classes)


ATTACKS.add(AttackKind("all_to_one", draw))
