"""BadNets' single target (Gu et al. 2017): one class is sent to one other."""

import numpy as np

from onepixel.errors import UsageError
from onepixel.trojan.attack import ATTACKS, Asked, Attack, AttackKind, draw_source_and_target


def draw(asked: Asked, classes: int, rng: np.random.Generator) -> Attack:
    """Draw source and target where they are not said.

    Raises
    ------
    UsageError
        If they are the same.
    """
    source, target = draw_source_and_target(asked, classes, rng)
    if source == target:
        raise UsageError(f"The attack sends class {source} to itself.")
    return Attack(tuple(target if k == source else k for k in range(classes)))


ATTACKS.add(AttackKind("one_to_one", draw))
