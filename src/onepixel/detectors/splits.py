"""How models are split so that each is scored by networks that did not see it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onepixel.errors import UsageError

Splits = list[tuple[NDArray[np.intp], NDArray[np.intp]]]
"""Numbers of seen and unseen models, by fold."""


def random_splits(targets: NDArray[Any], folds: int, seed: int) -> Splits:
    """At most so many folds, each with as large a share of trojaned models as there is in all.

    Raises
    ------
    UsageError
        If there are fewer than two clean or two trojaned models.
    """
    from sklearn.model_selection import StratifiedKFold

    folds = min(folds, int(np.bincount(targets.astype(int)).min()))
    if folds < 2:
        raise UsageError("A detector needs at least two clean and two trojaned models.")
    return list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(targets, targets))


def splits_by_group(targets: NDArray[Any], groups: NDArray[Any]) -> Splits:
    """Numbers of seen and unseen models, for each group left out.

    Raises
    ------
    UsageError
        If there are not as many groups as models, fewer than two, or one without clean or without trojaned models.
    """
    if groups.shape != targets.shape:
        raise UsageError("Groups must be one per signature.")
    names = np.unique(groups)
    if len(names) < 2 or any(set(targets[groups == name]) != {0, 1} for name in names):
        raise UsageError("A detector needs at least two groups, each with clean and trojaned models.")
    from sklearn.model_selection import LeaveOneGroupOut

    return list(LeaveOneGroupOut().split(targets, targets, groups))
