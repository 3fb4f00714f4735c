"""The house keeps its order: who may import whom, and how quickly it opens."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import napari_labdct

SOURCE = Path(napari_labdct.__file__).parent
# From the ground up: a room imports only rooms that stand before it here.
ROOMS = [
    "_version", "core", "crystal", "scan", "io", "background", "spots", "simulation", "networks",
    "review", "evaluation", "training", "grains", "jobs", "cli", "campaign", "__main__", "gui",
]  # fmt: skip
# Inside gui: what docks share, then widgets, then docks, none of which imports another.
GUI_FLOORS = ["app", "widgets"]


@cache
def modules() -> dict[str, Path]:
    """Every module by its dotted name without the package; the package itself is ''."""
    found = {}
    for path in SOURCE.rglob("*.py"):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        found[".".join(p for p in parts if p != "__init__")] = path
    return found


def imported(name: str) -> Iterator[str]:
    """Modules of the package that a module imports: in functions and for types, too."""
    path = modules()[name]
    package = path.relative_to(SOURCE).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            source = ".".join([*base, *(node.module.split(".") if node.module else [])])
            for alias in node.names:
                whole = f"{source}.{alias.name}".lstrip(".")
                yield whole if whole in modules() else source


def test_every_module_is_in_a_room_and_imports_only_rooms_below():
    wrong = []
    for name in modules():
        room = name.split(".")[0]
        assert not room or room in ROOMS, f"{name} is in no room"
        for other in imported(name):
            target = other.split(".")[0]
            if room and target and ROOMS.index(target) > ROOMS.index(room):
                wrong.append(f"{name} imports {other}")
    assert not wrong


def test_no_module_lies_loose_beside_the_rooms():
    assert {p.stem for p in SOURCE.glob("*.py")} == {"__init__", "__main__", "_version"}


def test_docks_share_what_lies_below_and_never_each_other():
    wrong = []
    for name in modules():
        parts = name.split(".")
        if parts[0] != "gui" or len(parts) < 3:
            continue
        for other in imported(name):
            there = other.split(".")
            if there[0] != "gui" or len(there) < 2 or there[1] == parts[1]:
                continue
            floor = GUI_FLOORS.index(there[1]) if there[1] in GUI_FLOORS else len(GUI_FLOORS)
            mine = GUI_FLOORS.index(parts[1]) if parts[1] in GUI_FLOORS else len(GUI_FLOORS)
            if floor >= mine:
                wrong.append(f"{name} imports {other}")
    assert not wrong


def test_no_module_imports_itself_in_a_circle():
    # a package's face loads its modules lazily, so it is no arrow
    arrows = {
        name: {other for other in imported(name) if modules()[other].name != "__init__.py"}
        for name in modules()
    }
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        raise AssertionError(f"a circle: {' -> '.join(error.args[1])}") from None


def test_what_runs_never_imports_what_learns():
    learns = [n for n in modules() if n.startswith("networks")]
    assert learns
    assert not [(n, o) for n in learns for o in imported(n) if o.startswith("training")]


def _outside(path: Path) -> set[str]:
    """Top-level names of other packages that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module.split(".")[0])
    return found


def test_nothing_outside_gui_imports_qt_or_napari():
    forbidden = {"napari", "qtpy", "magicgui", "superqt", "PyQt6", "PySide6"}
    outside = [path for name, path in modules().items() if name.split(".")[0] != "gui"]
    assert not [str(path.relative_to(SOURCE)) for path in outside if forbidden & _outside(path)]


def test_import_pulls_nothing_heavy():
    code = (
        "import sys, napari_labdct as n; n.Scan, n.open_scan, n.RoutineSettings, n.DenoiseSettings;"
        "heavy = {'torch', 'napari', 'qtpy', 'scipy', 'skimage', 'numba', 'matplotlib'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_loads():
    for name in modules():
        path = modules()[name]
        if path.name != "__init__.py" or "lazy.attach" not in path.read_text(encoding="utf-8"):
            continue
        package = __import__(f"napari_labdct.{name}".rstrip("."), fromlist=["__all__"])
        assert package.__all__
        for public in package.__all__:
            assert getattr(package, public) is not None


def test_files_are_read_through_the_readers_that_check_what_they_declare():
    """Whoever opens HDF5, NumPy archives or JSON by himself must be named, and say why."""
    by_themselves = {
        "h5py.File(": {
            "core.hdf5",
            "core.files",
            "grains.results",  # they write
            "io.hdf5_links",  # follows links within the scan's folder, each looked at first
        },
        "np.load(": {
            "evaluation.phantoms",  # its own cache; what is damaged is made again
            "io.detector_masks",  # mapped: nothing is taken before its size is compared
        },
        "json.load(": set(),
    }
    for call, known in by_themselves.items():
        found = {n for n, path in modules().items() if call in path.read_text(encoding="utf-8")}
        assert found == known, f"read with core.hdf5, core.npz or core.schema instead of {call}"


def test_what_docks_run_in_workers_needs_no_window():
    names = [
        str(path.relative_to(SOURCE.parent).with_suffix("")).replace("/", ".")
        for dock in ("background", "compare", "train")
        for path in sorted((SOURCE / "gui" / dock).glob("*.py"))
        if path.stem in ("tasks", "engine", "request", "captions", "runs")
    ]
    assert len(names) == 7
    code = (
        f"import sys, importlib; [importlib.import_module(n) for n in {names}];"
        "loaded = {m.partition('.')[0] for m in sys.modules};"
        "print(sorted(loaded & {'napari', 'qtpy', 'PyQt6', 'PySide6', 'vispy'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
