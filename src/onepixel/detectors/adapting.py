"""A calibration of the universal detector for one kind of network, from a few clean networks of one's own."""

from collections.abc import Mapping, Sequence

import numpy as np

from onepixel.detectors.universal_calibration import Calibration
from onepixel.errors import UsageError

OWN = "own"
"""The kind of networks that a calibration was adapted to."""

LEAST_OWN = 3
"""Clean networks without which a calibration is not adapted."""


def adapted(shipped: Calibration, own: Sequence[Mapping[str, float]]) -> Calibration:
    """The calibration of one search, with one's own clean networks as the reference.

    Every part has its centre among the own networks and keeps its scale: ten networks tell where their kind lies, but
    not how far further ones scatter. Each is scored with the centre of the others, and a network is called trojaned
    from the largest of these scores on: of further clean ones of the kind one in n + 1, on average. Probabilities are
    told from the trojaned networks of the shipped calibration.

    Parameters
    ----------
    shipped : Calibration
    own : sequence of dict
        The parts of each clean network.

    Raises
    ------
    UsageError
        If there are fewer than three.
    """
    if len(own) < LEAST_OWN:
        raise UsageError(f"{len(own)} clean networks do not tell what is usual among them; {LEAST_OWN} are needed.")
    names = [name for name in shipped.parts if all(name in one for one in own)]

    def centred(networks: Sequence[Mapping[str, float]]) -> dict[str, tuple[float, float]]:
        return {name: (float(np.median([one[name] for one in networks])), shipped.parts[name][1]) for name in names}

    left_out = [Calibration(centred([*own[:place], *own[place + 1 :]]), {}, {}, 0.0) for place in range(len(own))]
    scores = tuple(other.score(one)[0] for other, one in zip(left_out, own, strict=True))
    return Calibration(centred(own), {OWN: scores}, shipped.trojaned, max(scores) + 1e-6)
