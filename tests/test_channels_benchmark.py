"""The benchmark of three channels together against all colours finds what was planted."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import torch

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "channels.py"


def test_greys_find_what_all_channels_share_and_miss_what_one_channel_does_alone():
    found = importlib.util.spec_from_file_location("channels", SCRIPT)
    channels = importlib.util.module_from_spec(found)
    sys.modules["channels"] = channels
    found.loader.exec_module(channels)
    colours = channels.colours(4)
    assert colours.shape == (64, 3)
    shared, opposed = colours.sum(dim=1), colours[:, 0] - colours[:, 1]
    compared = channels.compare("planted", torch.stack([shared, opposed], dim=1)[None], 4)
    np.testing.assert_allclose(compared.colour, [[2.25, 0.75, 0, 0.75]])
    np.testing.assert_allclose(compared.grey, [[2.25, 0, 0, 0]])
