"""Torch without its meta functions is the same torch, and gets them where they are missed."""

import subprocess
import sys

CHECKS = """
import sys
from onepixel.starting import import_meta_functions, shorten_import_of_torch, with_shapes
shorten_import_of_torch()
shorten_import_of_torch()
import torch
from torch import nn
assert "torch._meta_registrations" not in sys.modules, "left out"
assert "_meta_registrations" not in vars(torch)
assert type(torch.__spec__.loader) is type(torch.nn.__spec__.loader)
first = torch.rand(3, generator=torch.Generator().manual_seed(1))
layer = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 4)).eval()
images = torch.rand(2, 1, 8, 8)
shape = with_shapes(lambda: layer.to("meta")(images.to("meta")).shape)
assert shape == (2, 4)
assert "torch._meta_registrations" in sys.modules, "imported when missed"
assert torch.equal(first, torch.rand(3, generator=torch.Generator().manual_seed(1)))
assert torch._refs.add is not None
print(True)
"""

LATER = """
import sys
from onepixel.starting import shorten_import_of_torch
shorten_import_of_torch()
import torch
import torch._refs
assert torch._refs.__spec__.name == "torch._refs" and hasattr(torch._refs.__spec__.loader, "path")
assert not any("onepixel" in type(finder).__module__ for finder in sys.meta_path)
weight = torch.nn.Parameter(torch.ones(2))
weight.sum().backward()
torch.optim.Adam([weight]).step()  # imports torch's compiler
print(True)
"""

NAMED_FIRST = """
import sys
from onepixel.starting import import_meta_functions, shorten_import_of_torch
shorten_import_of_torch()
import_meta_functions()
import torch
assert "torch._meta_registrations" in sys.modules
print(True)
"""


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], text=True, check=False, capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_meta_functions_come_when_they_are_missed() -> None:
    assert run(CHECKS) == "True"


def test_code_of_others_gets_the_whole_torch() -> None:
    assert run(NAMED_FIRST) == "True"


def test_parts_of_torch_that_are_imported_later_find_them() -> None:
    assert run(LATER) == "True"
