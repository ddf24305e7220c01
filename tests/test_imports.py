"""Imports go one way: nothing knows anything to its right, and no modules import each other in a circle.

Imports inside functions and for types count as well.
"""

from copy import deepcopy

import grimp
import pytest
from scipy.sparse import lil_matrix
from scipy.sparse.csgraph import connected_components

LAYERS = (
    {"ending", "errors", "starting", "threads", "version"},
    {"parallel", "printable", "progress", "registry"},
    {"array_files", "files", "findings", "pictures", "warping"},
    {"architectures", "classifiers", "datasets"},
    {"signatures", "trojan"},
    {"opening"},
    {"sandbox"},
    {"loading"},
    {"reaches"},
    {"populations"},
    {"detectors"},
    {"boxes", "methods"},
    {"report"},
    {"experiments"},
    {"cli"},
    {"__main__"},
)
"""The parts of onepixel from left to right; those of one layer may read each other, but not in a circle."""

KNOWS_EVERYTHING = {"cli", "experiments"}
"""Who may import `onepixel` itself, the face that people import: it leads to everything."""


@pytest.fixture(scope="module")
def graph():
    return grimp.build_graph("onepixel", cache_dir=None)


def part(module):
    return module.split(".")[1] if "." in module else ""


def upward(graph):
    """Imports of something further right, as pairs of modules."""
    place = {name: number for number, names in enumerate(LAYERS) for name in names}
    arrows = ((one, other) for one in graph.modules for other in graph.find_modules_directly_imported_by(one))
    return sorted(
        (one, other) for one, other in arrows if part(one) and part(other) and place[part(one)] < place[part(other)]
    )


def circles(graph, name=lambda module: module):
    """Sets of modules (or of what `name` makes of them) that import each other in a circle."""
    nodes = sorted({name(module) for module in graph.modules})
    number = {node: place for place, node in enumerate(nodes)}
    arrows = lil_matrix((len(nodes), len(nodes)))
    for one in graph.modules:
        for other in graph.find_modules_directly_imported_by(one):
            arrows[number[name(one)], number[name(other)]] = name(one) != name(other)
    _, members = connected_components(arrows, connection="strong")
    found = [[node for node, member in zip(nodes, members, strict=True) if member == one] for one in set(members)]
    return sorted(circle for circle in found if len(circle) > 1)


def test_every_part_has_its_layer(graph):
    assert {part(module) for module in graph.modules} - {""} <= set.union(*LAYERS)


def test_nothing_imports_what_is_further_right(graph):
    assert upward(graph) == []


def test_no_modules_import_each_other_in_a_circle(graph):
    assert circles(graph) == []


def test_no_parts_import_each_other_in_a_circle(graph):
    assert circles(graph, part) == []


def test_only_the_command_line_and_the_experiments_import_the_face(graph):
    assert {part(module) for module in graph.find_modules_that_directly_import("onepixel")} <= KNOWS_EVERYTHING


def test_an_upward_arrow_and_a_circle_are_found(graph):
    broken = deepcopy(graph)
    broken.add_import(importer="onepixel.signatures.value", imported="onepixel.report.signature")
    assert upward(broken) == [("onepixel.signatures.value", "onepixel.report.signature")]
    assert any("onepixel.signatures.value" in circle for circle in circles(broken))
