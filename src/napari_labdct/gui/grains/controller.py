"""The map at work in one viewer: which grain is chosen, its spots, and its corrections."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Layer
from qtpy.QtCore import QObject, Signal

from ...grains.calibration import Calibration
from ...grains.edited_map import EditedMap
from ...grains.reflections import SEEN
from ...grains.settings import GrainSettings
from ...scan.scan import Scan
from ..app import preferences
from ..app.job import Job
from . import tasks
from .spots import GrainSpots
from .tasks import Edited, Growth, Masks, Study

if TYPE_CHECKING:
    from ..app.session import Session


class GrainsController(QObject):
    """Runs, the map, the chosen grain and its spots; lives as long as the session.

    Attributes
    ----------
    grown : signal(Growth)
        More of the map that is being made.
    opened : signal
        Another map is there, or none.
    edited : signal
        The map was corrected.
    selected : signal
        Another grain is chosen, or none.
    stepped : signal
        Another spot of it is looked at.
    calibrated : signal(Calibration)
    compared : signal(object)
        The `MapsReport`.
    said : signal(str)
        A sentence for the status line.
    """

    grown = Signal(object)
    opened = Signal()
    edited = Signal()
    selected = Signal()
    stepped = Signal()
    calibrated = Signal(object)
    compared = Signal(object)
    said = Signal(str)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self.job: Job = session.job("grains")
        self.open_job: Job = session.job("open grains")
        self.edit_job: Job = session.job("edit grains")
        self.calibrate_job: Job = session.job("calibrate")
        self.compare_job: Job = session.job("compare maps")
        self.export_job: Job = session.job("export grains")
        self.study: Study | None = None
        self.growth: Growth | None = None
        self.report: Any = None
        self.calibration: Calibration | None = None
        self.current: int | None = None
        self.spot = -1
        self.spots = GrainSpots(session, self.click_spot)
        self._stack: weakref.ref[Layer] | None = None
        self._bound = False
        for job in (self.job, self.open_job, self.edit_job, self.calibrate_job, self.compare_job):
            job.delivered.connect(self._on_delivered)
        self.edit_job.ended.connect(self._on_edit_ended)
        self.export_job.ended.connect(self._on_exported)
        session.stacks_changed.connect(self._on_layers)
        session.scan_changed.connect(self._on_scan)

    @property
    def stack(self) -> Layer | None:
        """The projections that the map, or the run at work, is about."""
        layer = None if self._stack is None else self._stack()
        return layer if self._session.contains(layer) else None

    # --------------------------------------------------------------------- running

    def map(self, stack: Layer, masks: Masks, settings: GrainSettings, material: str | None):
        """Map the grains of a stack in a worker."""
        scan = self._session.scan(stack)
        self._stack = weakref.ref(stack)
        self._forget()
        folder = preferences.cache_folder()
        self.job.start(
            lambda: tasks.map_grains(scan, masks, settings, material, folder),
            f"Map the grains of {stack.name}",
        )

    def open(
        self, path: Path, material: str | None, stack: Layer | None, masks: Masks | None
    ) -> None:
        """Open a map from a file; with a stack and its masks its spots are known, too."""
        if self.job.running or self.open_job.running:
            self.said.emit("Grains are being mapped or opened; wait for the end, or cancel.")
            return
        scan: Scan | None = None
        if stack is not None and masks is not None:
            scan = self._session.scan(stack)
        self._stack = None if stack is None else weakref.ref(stack)
        self.open_job.start(
            lambda: tasks.open_file(path, material, scan, masks), f"Open {path.name}"
        )

    def calibrate(self, stack: Layer, masks: Masks, settings, material: str | None) -> None:
        """Find the geometry of a stack from its spots."""
        scan = self._session.scan(stack)
        self._stack = weakref.ref(stack)
        self.calibration = None
        self.calibrate_job.start(
            lambda: tasks.calibrate(scan, masks, settings, material), f"Calibrate {stack.name}"
        )

    def use_calibration(self) -> None:
        """Give the stack the geometry that was found."""
        stack = self.stack
        if stack is not None and self.calibration is not None:
            self._session.set_scan(stack, self.calibration.scan)
            self.said.emit("The scan has the geometry that was found; scan.yaml is as it was.")

    def write_calibration(self, path: Path) -> None:
        """Write what was found into scan.yaml."""
        found = self.calibration
        if found is not None:
            self.export_job.queue(lambda: tasks.write_geometry(path, found), f"Write {path.name}")

    def compare(
        self, reference: Path, second: Path | None, within_deg: float, register: bool
    ) -> None:
        """Compare the map with a better one."""
        study = self.study
        if study is not None:
            self.report = None
            self.compare_job.start(
                lambda: tasks.compare(study, reference, second, within_deg, register),
                "Compare grain maps",
            )

    def write_report(self, folder: Path) -> None:
        """Write the page of the last comparison."""
        report = self.report
        if report is not None:
            self.export_job.queue(lambda: tasks.write_report(report, folder), "Write the report")

    def export(self, path: Path) -> None:
        """Write the map as it is now."""
        study = self.study
        if study is not None:
            self.export_job.queue(lambda: tasks.export(study, path), f"Write {path.name}")

    def discard(self) -> None:
        """Forget a stopped run; what it found is kept for when the same is asked again."""
        self.growth = None
        self.job.discard()
        self.opened.emit()

    # --------------------------------------------------------------------- choosing

    def select(self, number: int | None, move: bool = True) -> None:
        """Choose a grain: its spots lie on the projections.

        Parameters
        ----------
        number : int, optional
            Its label; none if not given.
        move : bool
            Bring its first spot into view.
        """
        study = self.study
        if study is None or (number is not None and study.edited.gone[number - 1]):
            number = None
        self.current, self.spot = number, -1
        self._bind(number is not None)
        rows = self.rows
        if number is not None and study.reflections is not None and self.stack is not None:
            self.spots.open(self.stack)
            self.spots.show(rows, study.edited.name(number))
        else:
            self.spots.show(rows, 0)
        looked_at = number is not None and move and len(rows) > 0
        if not looked_at:
            self.spots.mark(rows[:0], move=False)
        self.selected.emit()
        if looked_at:
            self.look_at(self._nearest_spot())

    @property
    def rows(self) -> np.ndarray:
        """Reflections of the chosen grain."""
        study = self.study
        if study is None or study.reflections is None or self.current is None:
            from ...grains.reflections import REFLECTION_DTYPE

            return np.zeros(0, REFLECTION_DTYPE)
        return study.reflections.of_grain(self.current)

    def _nearest_spot(self) -> int:
        """The found spot nearest to the projection shown, so that little moves."""
        rows = self.rows
        here = self._session.shown_frame(self.stack)
        away = np.abs(rows["frame"] - here) + 1e4 * (rows["seen"] != SEEN)
        return int(away.argmin())

    def step(self, by: int) -> None:
        """Look at the spot before (-1) or after (+1)."""
        rows = self.rows
        if len(rows):
            self.look_at((self.spot + by) % len(rows) if self.spot >= 0 else 0)

    def look_at(self, index: int) -> None:
        """Look at one of the chosen grain's spots."""
        rows = self.rows
        if 0 <= index < len(rows):
            self.spot = index
            self.spots.mark(rows[index])
            self.stepped.emit()

    def click_spot(self, frame: int, row: float, col: float) -> None:
        """A click on a projection: the grain of the spot there is chosen."""
        study = self.study
        if study is None or study.reflections is None:
            return
        spot = study.reflections.spot_at(frame, row, col)
        if spot is None:
            return
        names = [study.edited.name(n) for n in spot.grains]
        if not names:
            self.select(None)
            self.said.emit(
                f"This spot ({spot.area_px} px, row {spot.row:.0f}, column {spot.col:.0f}) belongs "
                "to no grain of the map."
            )
            return
        self.select(spot.grains[0], move=False)
        rows = self.rows
        here = np.flatnonzero(rows["frame"] == frame)
        off = np.hypot(rows["row"][here] - row, rows["col"][here] - col)
        self.look_at(int(here[off.argmin()]))
        hkl = " ".join(str(i) for i in spot.hkl[0])
        also = f" Grains {', '.join(map(str, names[1:]))} reflect there, too." if names[1:] else ""
        self.said.emit(f"A spot of grain {names[0]}, {hkl}.{also}")

    def _bind(self, on: bool) -> None:
        """Let the arrows over the projections walk through the spots while a grain is chosen."""
        viewer = self._session.viewer
        if viewer is None or on == self._bound:
            return
        self._bound = on
        for key, by in (("Left", -1), ("Right", 1)):
            step = self._stepper(by) if on else None
            viewer.bind_key(key, step, overwrite=True)

    def _stepper(self, by: int) -> Callable[[Any], None]:
        def press(_viewer: Any) -> None:
            self.step(by)

        return press

    # ------------------------------------------------------------------- correcting

    def delete(self, numbers: Sequence[int]) -> None:
        """Delete grains."""
        self._edit(lambda e: e.delete(numbers), "do")

    def merge(self, numbers: Sequence[int]) -> None:
        """Merge grains."""
        self._edit(lambda e: e.merge(numbers), "do")

    def lock(self, numbers: Sequence[int], on: bool) -> None:
        """Lock grains, or let them go."""
        self._edit(lambda e: e.lock(numbers, on), "do")

    def undo(self) -> None:
        """Take back the last correction."""
        self._edit(EditedMap.undo, "Undone")

    def redo(self) -> None:
        """Bring back what was undone."""
        self._edit(EditedMap.redo, "Done again")

    def seed(self, point_um: np.ndarray) -> None:
        """Look for a grain at a point (z, y, x)."""
        study = self.study
        if study is not None:
            self.edit_job.queue(lambda: tasks.seed(study, point_um), "Seed a grain")

    def _edit(self, step: Callable[[EditedMap], Any], verb: str) -> None:
        study = self.study
        if study is not None:
            self.edit_job.queue(lambda: tasks.edit(study, step, verb), "Correct the map")

    def _on_edit_ended(self, state: str) -> None:
        if state == "failed":
            self.said.emit(self.edit_job.error)

    def _on_exported(self, state: str) -> None:
        if state == "done":
            self.said.emit(self.export_job.note)

    # -------------------------------------------------------------------- delivered

    def _on_delivered(self, thing: object) -> None:
        if isinstance(thing, Growth):
            self.growth = thing
            self.grown.emit(thing)
        elif isinstance(thing, Study):
            self._take(thing)
        elif isinstance(thing, Edited):
            self._on_edited(thing)
        elif isinstance(thing, Calibration):
            self.calibration = thing
            self.calibrated.emit(thing)
        else:
            self.report = thing
            self.compared.emit(thing)

    def _take(self, study: Study) -> None:
        self._forget()
        self.study = study
        stack = self.stack
        if stack is not None:
            self.spots.open(stack)
        self.opened.emit()
        if study.notes:
            self.said.emit(" ".join(study.notes))

    def _on_edited(self, done: Edited) -> None:
        if done.study is not self.study:
            return
        edited = done.study.edited
        gone = self.current is not None and edited.gone[self.current - 1]
        if gone:
            self.select(None)
        self.edited.emit()
        if not gone and self.current in done.grains:
            self.select(self.current, move=False)
        if done.said:
            self.said.emit(done.said)

    def _forget(self) -> None:
        """No map is there."""
        self.select(None)
        self.study = self.growth = self.report = None
        self.opened.emit()

    def _on_layers(self) -> None:
        if self._stack is not None and self.stack is None and self.job.running:
            self.job.cancel()

    def _on_scan(self, layer: Layer) -> None:
        # Resume would go on with the angles and distances of before
        if self.job.resumable and self._stack is not None and layer is self._stack():
            self.job.discard()
