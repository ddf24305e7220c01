"""From traced ATen operators to the engine's steps; an operator without a rule here is refused by name.

One file for each family of operators; it ends with its rules.
"""

from typing import Any

import torch

from onepixel.signatures.incremental.lowering import arithmetic, linear, pointwise, pooling, shapes
from onepixel.signatures.incremental.lowering.translation import Lowering, Rule
from onepixel.signatures.incremental.program import Program
from onepixel.signatures.incremental.tracing import Trace

RULES: dict[Any, Rule] = {
    **shapes.RULES,
    **linear.RULES,
    **arithmetic.RULES,
    **pooling.RULES,
    **pointwise.RULES,
}
"""What translates which operator."""


def lower(trace: Trace, dtype: torch.dtype) -> Program:
    """Translate every operator that the answers depend on.

    Raises
    ------
    NotIncrementalError
        If there is no rule for one of them.
    """
    return Lowering(trace, dtype, RULES).program()
