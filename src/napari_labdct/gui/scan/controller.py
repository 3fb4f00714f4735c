"""What the Scan dock does to a scan: angles, geometry, beam stop, ``scan.yaml``."""

from __future__ import annotations

import weakref
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Layer, Shapes
from qtpy.QtCore import QObject, Signal

from ...core.errors import LabDCTError, ScanError
from ...scan.beam_stop import guess_beam_stop
from ...scan.description import LABELS, Polygon, ScanDescription
from ...scan.knowledge import FROM_FILE, FROM_NAMES
from ...scan.plausibility import implausible, meaning
from ...scan.scan import STEPS, Scan, needs_of
from ..app import layers as factory
from ..app.layers import scale_and_units

if TYPE_CHECKING:
    from ..app.session import Session


def find_beam_stop(scan: Scan) -> Generator[Any, None, None]:
    """Guess the beam stop in a worker."""
    yield guess_beam_stop(scan)


def checks(scan: Scan) -> list[tuple[bool, str]]:
    """What is complete and what is odd about a scan's description.

    Returns
    -------
    list of (bool, str)
        True for what is in order; a sentence each.
    """
    found = []
    odd = set(implausible(scan))
    steps_of: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for step in STEPS:
        wrong = tuple(name for name in needs_of(step) if name in odd)
        steps_of.setdefault((tuple(scan.missing_for(step)), wrong), []).append(step)
    told: tuple[str, ...] = ()
    for (missing, wrong), steps in steps_of.items():
        more = (
            missing
            if not told or set(told) - set(missing)
            else [name for name in missing if name not in told]
        )
        also = "add also" if 0 < len(more) < len(missing) else "add"
        parts = [f"{also} {_labels(more or missing)}"] if missing else []
        parts += [f"check {_labels(wrong)}"] if wrong else []
        text = f"{', '.join(steps)}: " + ("; ".join(parts) or "complete")
        found.append((not parts, text[0].upper() + text[1:]))
        told = missing
    d = scan.description
    if None not in (d.pixel_um, d.source_sample_mm, d.sample_detector_mm):
        try:
            size = scan.geometry()
            found.append((True, f"Magnification {size.magnification:.3g}"))
        except LabDCTError as error:
            found.append((False, str(error)))
    if scan.omega_deg is not None and scan.n_frames > 1:
        if np.ptp(scan.omega_deg) == 0:
            found.append((False, "All rotation angles are the same; check the step."))
        elif scan.circular:
            repeat = (
                ", the last view repeats the first" if scan.unique_frames < scan.n_frames else ""
            )
            found.append((True, f"The angles go once round{repeat}"))
    found += [(True, sentence) for sentence in meaning(scan)]
    found += [(False, sentence) for sentence in implausible(scan).values()]
    found += [(False, note) for note in scan.notes]
    return found


def told_by_file(scan: Scan) -> str:
    """What stands in the file of the projections and is used, and what else it tells."""
    fields_ = [n for n in LABELS if scan.source_of(n) == FROM_FILE]
    others = [n for n in ("exposure_s", "binning") if scan.source_of(n) == FROM_FILE]
    words = [LABELS.get(n, n.removesuffix("_s")) for n in [*fields_, *others]]
    parts = [f"From the file: {', '.join(words)}."] if words else []
    if scan.source_of("omega_deg") == FROM_NAMES:
        parts.append("From the file names: rotation angles.")
    if scan.known.details:
        told = "; ".join(f"{name}: {value}" for name, value in scan.known.details)
        parts.append(f"{told[0].upper()}{told[1:]}.")
    return " ".join(parts)


def _labels(names: Iterable[str]) -> str:
    return ", ".join(LABELS.get(name, name) for name in names)


class ScanController(QObject):
    """Edits the scans of one viewer; lives in the session, so edits of shapes always arrive.

    Attributes
    ----------
    said : signal(str)
        A sentence for the status line.
    """

    said = Signal(str)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self.job = session.job("beam stop")
        self.job.delivered.connect(self._on_guess)
        self.job.ended.connect(self._on_ended)
        self._guess_for: weakref.ref[Layer] | None = None
        self._shapes: weakref.WeakKeyDictionary[Layer, weakref.ref[Layer]] = (
            weakref.WeakKeyDictionary()
        )

    def describe(self, layer: Layer, **changes: Any) -> None:
        """Change entries of the description, and the scale of the layers with the pixel size.

        Raises
        ------
        SettingsError
            A value is refused.
        """
        scan = self._session.scan(layer)
        description = scan.description.replace(**changes)
        if description == scan.description:
            return
        resized = description.pixel_um != scan.description.pixel_um
        scan = scan.replace(description=description)
        if resized:
            self._rescale(layer, scan)
        self._session.set_scan(layer, scan)

    def set_angles(self, layer: Layer, omega_deg: np.ndarray | None) -> None:
        """Set one angle a projection, degrees.

        Raises
        ------
        ScanError
            Their number does not fit the projections.
        """
        self._session.set_scan(layer, self._session.scan(layer).replace(omega_deg=omega_deg))

    def load_angles(self, layer: Layer, path: Path) -> None:
        """Take the angles of a table, a JSON file or a ``scan.yaml``.

        Raises
        ------
        ScanError
            The file is unreadable, has no angles, or another number of them.
        """
        from ...io.angle_log import read_angles
        from ...io.scan_yaml import read_scan_yaml

        if path.suffix.lower() in (".yaml", ".yml"):
            omega = read_scan_yaml(path).omega_deg(self._session.scan(layer).n_frames)
            if omega is None:
                raise ScanError(f"{path.name} holds no omega_deg; choose another file.")
        else:
            omega = np.asarray(read_angles(path))
        self.set_angles(layer, omega)

    def save(self, layer: Layer, path: Path | None = None) -> Path:
        """Write ``scan.yaml`` beside the data, or at `path`.

        Raises
        ------
        ScanError
            The scan came from no file, so a path is needed; or what stands there describes
            another scan.
        OutputError
            The folder cannot be written.
        """
        from ...io.detector_masks import keep_mask
        from ...io.formats import format_of
        from ...io.opening import named_files
        from ...io.scan_yaml import FILE_NAME, description_file, read_scan_yaml, write_scan_yaml

        scan = self._session.scan(layer)
        frames: list[str] | None = None
        if path is None:
            if not scan.source:
                raise ScanError("This scan came from no file; choose where scan.yaml shall stand.")
            source, kind = Path(scan.source), format_of(scan.source)
            whole = source.is_dir() and not (kind is not None and kind.folder)
            folder = source if whole else source.parent
            path = description_file(folder) or folder / FILE_NAME
            inside = f"::{scan.known.inside}" if scan.known.inside else ""
            frames = None if whole else [source.name + inside]
        if path.exists():
            known, files = read_scan_yaml(path), getattr(scan.frames, "paths", [])
            named = [file.absolute() for file in named_files(known, path.parent)]
            if known.frames and any(Path(p).absolute() not in named for p in files[:1]):
                raise ScanError(
                    f"{path} describes other files ({', '.join(known.frames)}); move this scan "
                    "into a folder of its own."
                )
            frames = known.frames or frames
        kept = keep_mask(scan, path.absolute().parent)
        written = write_scan_yaml(path, kept, frames)
        if kept is not scan:
            self._session.set_scan(layer, kept)
        return written

    def _rescale(self, layer: Layer, scan: Scan) -> None:
        """Give the stack and what lies over it the new pixel size."""
        placed = scale_and_units(scan)
        for name, value in placed.items():
            setattr(layer, name, value[-layer.ndim :])
        for result in self._session.results(layer):
            over = factory.placement(layer, tuple(result.data.shape))
            result.scale, result.translate = over["scale"], over["translate"]
            result.units = over["units"]
        shapes = self._shapes_of(layer)
        if shapes is not None:
            shapes.scale, shapes.units = layer.scale[-2:], layer.units[-2:]
        viewer = self._session.viewer
        if viewer is not None:
            viewer.reset_view()

    # ------------------------------------------------------------------- beam stop

    def guess(self, layer: Layer) -> None:
        """Find the beam stop in a worker and show it."""
        scan = self._session.scan(layer)
        self._guess_for = weakref.ref(layer)
        self.job.start(lambda: find_beam_stop(scan), f"Find the beam stop of {layer.name}")

    def _on_guess(self, polygons: tuple[Polygon, ...]) -> None:
        layer = None if self._guess_for is None else self._guess_for()
        if layer is None or not self._session.contains(layer):
            return
        if not polygons:
            self.said.emit("No beam stop was found; draw one with Edit in image.")
            return
        self.describe(layer, beam_stop_px=polygons)
        self.show_shapes(layer)

    def _on_ended(self, state: str) -> None:
        if state == "failed":
            self.said.emit(self.job.error)

    def show_shapes(self, layer: Layer) -> Layer | None:
        """Show the beam stop as polygons that can be edited; what is drawn there counts."""
        viewer = self._session.viewer
        if viewer is None:
            return None
        polygons = self._session.scan(layer).description.beam_stop_px
        corners = [np.asarray(polygon, float) for polygon in polygons]
        shapes = self._shapes_of(layer)
        if shapes is not None:
            with shapes.events.data.blocker(self._on_drawn):
                shapes.data = []
                if corners:
                    shapes.add_polygons(corners)
        else:
            shapes = Shapes(
                corners or None,
                ndim=2,
                shape_type="polygon",
                name=factory.free_name(
                    [other.name for other in viewer.layers], f"{layer.name} [beam stop]"
                ),
                edge_color=factory.ORANGE,
                face_color=[1.0, 0.62, 0.11, 0.15],
                edge_width=max(2.0, max(layer.data.shape[-2:]) / 400),
                scale=layer.scale[-2:],
                translate=layer.translate[-2:],
                units=layer.units[-2:],
                axis_labels=layer.axis_labels[-2:],
                metadata={factory.KEY: {"kind": "beam stop", "stack": layer.name}},
            )
            shapes.events.data.connect(self._on_drawn)
            self._shapes[layer] = weakref.ref(shapes)
            viewer.layers.append(shapes)
        viewer.layers.selection.active = shapes
        shapes.mode = "direct" if corners else "add_polygon"
        return shapes

    def remove(self, layer: Layer) -> None:
        """Forget the beam stop, and take away the shapes layer that this dock made."""
        viewer, shapes = self._session.viewer, self._shapes_of(layer)
        self._shapes.pop(layer, None)
        if viewer is not None and shapes is not None:
            shapes.events.data.disconnect(self._on_drawn)
            viewer.layers.remove(shapes)
        self.describe(layer, beam_stop_px=())

    def _shapes_of(self, layer: Layer) -> Layer | None:
        ref = self._shapes.get(layer)
        shapes = None if ref is None else ref()
        return shapes if self._session.contains(shapes) else None

    def _on_drawn(self, event: Any) -> None:
        if str(getattr(event, "action", "")).endswith("ing"):
            return  # adding, changing, removing: announced, not yet done
        for layer in self._session.stacks():
            shapes = self._shapes_of(layer)
            if shapes is not None and shapes is event.source:
                self.describe(layer, beam_stop_px=_outlines(shapes))


def _outlines(shapes: Layer) -> tuple[Polygon, ...]:
    """Polygons, rectangles and ellipses of a shapes layer in pixels of the stack."""
    outlines = []
    for corners, kind in zip(shapes.data, shapes.shape_type):
        points = np.asarray(corners, float)[:, -2:]
        if kind in ("line", "path") or len(points) < 3:
            continue
        if kind == "ellipse":
            centre = points.mean(0)
            across, along = (points[1] - points[0]) / 2, (points[3] - points[0]) / 2
            turn = np.linspace(0, 2 * np.pi, 32, endpoint=False)[:, None]
            points = centre + np.cos(turn) * across + np.sin(turn) * along
        outlines.append(tuple((round(float(r), 1), round(float(c), 1)) for r, c in points))
    return tuple(outlines)


__all__ = ["ScanController", "ScanDescription", "checks", "find_beam_stop", "told_by_file"]
