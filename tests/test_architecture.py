"""The house keeps its order: who may import whom, and how quickly it opens."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import napari_labdct

SOURCE = Path(napari_labdct.__file__).parent
# From the ground up: a module imports only modules that stand above it here.
ORDER = [
    "_version", "errors", "files", "folders", "parameters", "geometry", "scan", "crystal", "jobs",
    "kernels", "spot_kernels", "shapes", "io", "routine", "medians", "spots", "comparison",
    "detections", "corrections",
    "journal", "review", "selection", "exporting",
    "tuning", "evaluation", "pictures", "report", "simulation", "background", "learning",
    "denoising", "tracking", "testscans", "scoring", "peers", "quality", "verdicts",
    "grains", "cli", "__main__", "gui",
]  # fmt: skip


def _imports(path: Path):
    """Top-level modules of the package that a file imports, inside functions too."""
    package = ["napari_labdct", *path.relative_to(SOURCE).parent.parts]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            names = [node.module] if node.module else [a.name for a in node.names]
            for name in names:
                full = [*base, *name.split(".")]
                if len(full) > 1:
                    yield full[1]
        elif isinstance(node, ast.ImportFrom | ast.Import):
            modules = (
                [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            )
            for module in modules:
                yield f"outside:{module.split('.')[0]}"


def test_modules_import_only_what_stands_above_them():
    wrong = []
    for path in SOURCE.rglob("*.py"):
        room = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        assert room in ORDER, f"{room} has no place in the order"
        for name in _imports(path):
            if name in ORDER and ORDER.index(name) > ORDER.index(room):
                wrong.append(f"{path.relative_to(SOURCE)} imports {name}")
    assert not wrong


def test_nothing_outside_gui_imports_qt_or_napari():
    forbidden = {f"outside:{m}" for m in ("napari", "qtpy", "magicgui", "superqt", "PyQt6")}
    wrong = [
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        if "gui" not in path.relative_to(SOURCE).parts and forbidden & set(_imports(path))
    ]
    assert not wrong


def test_import_pulls_nothing_heavy():
    code = (
        "import sys, napari_labdct as n; n.Scan, n.open_scan, n.RoutineSettings, n.DenoiseSettings;"
        "heavy = {'torch', 'napari', 'qtpy', 'scipy', 'skimage', 'numba', 'matplotlib'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_loads():
    for name in napari_labdct.__all__:
        assert getattr(napari_labdct, name) is not None
