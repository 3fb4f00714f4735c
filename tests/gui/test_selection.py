"""What the user has selected stays selected, whichever dock adds a layer."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
from napari.components import LayerList
from napari.layers import Image, Points

import napari_labdct.gui
from napari_labdct.gui.app.selection import keeping_selection

GUI = Path(napari_labdct.gui.__file__).parent
ADDING = {"append", "extend", "insert", "add_layer", "add_image", "add_labels", "add_shapes"}
#: Here the user asks for the layer, to look at it or to draw in it, and gets it selected.
ASKED_FOR = {
    ("app/session.py", "_add_opened"),  # File > Open
    ("review/layers.py", "region_layer"),
    ("scan/controller.py", "show_shapes"),
    ("scan/mask.py", "show"),
    # viewers of their own
    ("widgets/grains_view.py", "_fill"),
    ("grains/canvas.py", "_fill"),
    ("grains/canvas.py", "_points"),
    ("grains/canvas.py", "_add_chosen"),
}


def _owner(call: ast.Call) -> str:
    return ast.unparse(call.func.value) if isinstance(call.func, ast.Attribute) else ""


def _adds_a_layer(node: ast.AST) -> bool:
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return False
    name, owner = node.func.attr, _owner(node)
    if name.startswith("add_"):
        return name in ADDING and owner.endswith("viewer")
    return name in ADDING and owner.split(".")[-1] == "layers" and owner != "self.layers"


def _unguarded(node: ast.AST, function: str, guarded: bool) -> list[tuple[str, int]]:
    if isinstance(node, ast.FunctionDef):
        function, guarded = node.name, False
    if isinstance(node, ast.With):
        guarded |= any("keeping_selection" in ast.unparse(item) for item in node.items)
    found = [(function, node.lineno)] if _adds_a_layer(node) and not guarded else []
    for child in ast.iter_child_nodes(node):
        found += _unguarded(child, function, guarded)
    return found


def test_only_layers_that_the_user_asked_for_take_the_selection():
    seen, wrong = set(), []
    for path in sorted(GUI.rglob("*.py")):
        name = path.relative_to(GUI).as_posix()
        for function, line in _unguarded(ast.parse(path.read_text()), "", False):
            seen.add((name, function))
            if (name, function) not in ASKED_FOR:
                wrong.append(f"{name}:{line} in {function}")
    assert not wrong, wrong
    assert seen == ASKED_FOR  # none of them is out of date


def test_the_selection_stays_and_the_first_layer_is_selected():
    layers = LayerList([Image(np.zeros((4, 4)), name="mine"), Points(name="other")])
    layers.selection = {layers["mine"]}
    with keeping_selection(layers):
        layers.append(Image(np.zeros((4, 4)), name="result"))
    assert layers.selection == {layers["mine"]}
    empty = LayerList()
    with keeping_selection(empty):
        empty.append(Image(np.zeros((4, 4)), name="first"))
    assert {layer.name for layer in empty.selection} == {"first"}
