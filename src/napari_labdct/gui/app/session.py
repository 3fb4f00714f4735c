"""What one viewer's docks share: the active stack, its results, the jobs that run.

Two viewers are independent, and a closed viewer's session stops its jobs.  Layers
are held as objects, never by name, and weakly.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import pint
from napari.layers import Image, Layer
from napari.viewer import Viewer
from qtpy.QtCore import QEvent, QObject, QTimer, Signal
from qtpy.QtWidgets import QMainWindow, QWidget

from ...core.errors import ScanError
from ...core.jobs import Progress
from ...scan.scan import Scan
from . import layers as factory
from .job import Job
from .opengl import make_canvas_current
from .selection import keeping_selection
from .units import make_room
from .view import StackView

C = TypeVar("C")

_warm = False

_sessions: weakref.WeakKeyDictionary[Viewer, Session] = weakref.WeakKeyDictionary()


def session_of(viewer: Viewer) -> Session:
    """The session of a viewer, made when it is first asked for."""
    # napari hands plugins a proxy that wraps every layer anew, so that no two are identical
    viewer = getattr(viewer, "__wrapped__", viewer)
    session = _sessions.get(viewer)
    if session is None:
        session = _sessions[viewer] = Session(viewer)
    return session


class Session(QObject):
    """The shared state of one viewer.

    Attributes
    ----------
    stack_changed : signal(Layer or None)
        Another stack is the active one.
    stacks_changed : signal
        A layer that may be a stack came, went or was renamed.
    scan_changed : signal(Layer)
        Angles or geometry of a stack were edited.
    results_changed : signal(Layer)
        A stack has one result more or less, or a result was cut anew.
    frame_changed : signal
        Another projection is shown; sent when the slider has rested for a moment.
    theme_changed : signal
        The viewer has another theme.
    closing : signal
        The window is gone; what is not a `Job` of this session ends now.
    """

    stack_changed = Signal(object)
    stacks_changed = Signal()
    scan_changed = Signal(object)
    results_changed = Signal(object)
    frame_changed = Signal()
    theme_changed = Signal()
    closing = Signal()

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer = weakref.ref(viewer)
        self._stack: weakref.ref[Layer] | None = None
        self._stack_of: weakref.WeakKeyDictionary[Layer, weakref.ref[Layer]] = (
            weakref.WeakKeyDictionary()
        )
        self._view = StackView(self)
        self._jobs: dict[str, Job] = {}
        self._controllers: dict[type, Any] = {}
        self._watched: set[int] = set()
        self._window: weakref.ref[QMainWindow] | None = None
        self.closed = False
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(120)
        self._rest.timeout.connect(self.frame_changed)
        self._leaves = QTimer(self)
        self._leaves.setSingleShot(True)
        self._leaves.timeout.connect(self._on_leaving)
        viewer.dims.events.current_step.connect(self._on_step)
        viewer.events.theme.connect(self._on_theme)
        events = viewer.layers.events
        # Units first, before napari draws the layer; the rest when napari knows the layer.
        events.inserted.connect(self._view.align, position="first")
        events.inserted.connect(self._on_inserted, position="last")
        events.removing.connect(self._on_removing)
        events.removed.connect(self._on_removed)
        for layer in viewer.layers:
            self._welcome(layer)
        self._view.align()

    # ------------------------------------------------------------------ stacks

    @property
    def viewer(self) -> Viewer | None:
        """The viewer, or None once it is gone."""
        return None if self.closed else self._viewer()

    def stacks(self) -> list[Layer]:
        """Layers that a user may take for a scan: images that this package did not make."""
        viewer = self.viewer
        return [] if viewer is None else [layer for layer in viewer.layers if _may_be_stack(layer)]

    @property
    def stack(self) -> Layer | None:
        """The active stack."""
        layer = None if self._stack is None else self._stack()
        return layer if self.contains(layer) else None

    def set_stack(self, layer: Layer | None) -> None:
        """Make a layer the active stack of every dock."""
        if layer is self.stack:
            return
        self._stack = None if layer is None else weakref.ref(layer)
        self._view.follow()
        self.stack_changed.emit(layer)

    def work_on(self, layer: Layer) -> None:
        """Make a scan the active stack, select it and show it alone, as the user asked for."""
        viewer = self.viewer
        if viewer is not None and self.contains(layer):
            self.set_stack(layer)
            self._view.show_alone(layer)
            viewer.layers.selection.active = layer
            viewer.reset_view(layers=[layer])

    def contains(self, layer: Layer | None) -> bool:
        """Whether a layer still stands in the viewer."""
        viewer = self.viewer
        return viewer is not None and layer is not None and layer in viewer.layers

    def scan(self, layer: Layer | None = None) -> Scan:
        """The scan of a stack layer, or of the active one.

        Raises
        ------
        ScanError
            There is none, or the layer is not a stack of grey-level projections.
        """
        layer = self.stack if layer is None else layer
        if layer is None:
            raise ScanError("No scan is open; open one first.")
        info = factory.info_of(layer)
        known = info.get("scan")
        data = layer.data[0] if getattr(layer, "multiscale", False) else layer.data
        if known is not None and (known.frames is data or info.get("data") is data):
            return known
        if getattr(layer, "rgb", False):
            raise ScanError(
                f"'{layer.name}' is a colour (RGB) image; save the projections as grey-level "
                "TIFF and open them again."
            )
        scan = Scan(data, name=layer.name)
        factory.remember(layer, kind="scan", scan=scan, data=data)
        return scan

    def set_scan(self, layer: Layer, scan: Scan) -> None:
        """Keep edited angles or geometry of a stack; its frames must be the same."""
        factory.remember(layer, kind="scan", scan=scan)
        self._view.align()
        self._view.follow()
        self.scan_changed.emit(layer)

    # ----------------------------------------------------------------- results

    def add_result(
        self,
        stack: Layer,
        data: Any,
        kind: str,
        *,
        recipe: dict[str, Any] | None = None,
        what: str | None = None,
        limits: tuple[float, float] | None = None,
    ) -> Layer | None:
        """Show a result over its stack; see `layers.make_result`.

        Returns
        -------
        Layer or None
            None if the viewer or the stack layer is gone.
        """
        viewer = self.viewer
        if viewer is None or not self.contains(stack):
            return None
        made = factory.make_result(
            stack,
            data,
            kind,
            recipe=recipe,
            what=what,
            taken=[layer.name for layer in viewer.layers],
            limits=limits,
        )
        self._stack_of[made] = weakref.ref(stack)
        with keeping_selection(viewer.layers):
            viewer.layers.append(made)
        self.results_changed.emit(stack)
        return made

    def renew_result(self, layer: Layer) -> None:
        """A result that is worked on again is the newest of its kind."""
        ref = self._stack_of.pop(layer, None)
        if ref is not None:
            self._stack_of[layer] = ref
            self.results_changed.emit(ref())

    def results(self, stack: Layer, kind: str | None = None) -> list[Layer]:
        """Result layers of a stack, the newest last."""
        viewer = self.viewer
        if viewer is None:
            return []
        return [
            layer
            for layer in self._stack_of
            if layer in viewer.layers
            and self.stack_of(layer) is stack
            and kind in (None, factory.kind_of(layer))
        ]

    def stack_of(self, layer: Layer) -> Layer | None:
        """The stack a result layer was made of."""
        ref = self._stack_of.get(layer)
        return None if ref is None else ref()

    def refresh(self, layer: Layer | None, frames: Sequence[int] | None = None) -> None:
        """Read the shown frame of a lazy layer again, if it is among `frames`."""
        viewer = self.viewer
        if viewer is None or layer is None or layer not in viewer.layers:
            return
        if frames is None or self.shown_frame(layer) in frames:
            layer.refresh()

    def shown_frame(self, layer: Layer | None = None) -> int:
        """The projection on the screen, counted in the frames of `layer` (the active stack)."""
        viewer = self.viewer
        layer = self.stack if layer is None else layer
        if viewer is None or layer is None or layer.ndim < 3:
            return 0
        at = layer.world_to_data(viewer.dims.point[-layer.ndim :])[0]
        return int(min(max(round(float(at)), 0), layer.data.shape[0] - 1))

    def show_frame(self, index: int, layer: Layer | None = None) -> None:
        """Move the slider to projection `index`."""
        viewer = self.viewer
        layer = self.stack if layer is None else layer
        if viewer is None or layer is None or layer.ndim < 3:
            return
        axis = viewer.dims.ndim - layer.ndim
        viewer.dims.set_point(axis, layer.data_to_world((index, 0, 0))[0])

    # -------------------------------------------------------------------- jobs

    def warm_up(self) -> None:
        """Do in a worker, once, what would freeze the window when the first mask comes."""
        global _warm
        if not _warm:
            _warm = True
            # Loading the units in two threads at once breaks them, so they come first.
            pint.get_application_registry().pixel  # noqa: B018
            self.job("warm-up").start(_warm_up, "Prepare LabDCT")

    def job(self, name: str) -> Job:
        """The job called `name` ("denoise", "export", ...), made when first asked for.

        It outlives the dock that started it, so a reopened dock finds it at work.
        """
        if name not in self._jobs:
            self._jobs[name] = Job(self)
            if name == "open":
                self._jobs[name].delivered.connect(self._add_opened)
        return self._jobs[name]

    def controller(self, cls: type[C]) -> C:
        """The one object of a class made as ``cls(session)``; it lives as long as the session.

        What must go on when a dock is closed belongs into a controller.
        """
        if cls not in self._controllers:
            self._controllers[cls] = cls(self)
        return self._controllers[cls]

    def open(self, paths: Sequence[str | Path], failed: Callable[[str], None]) -> None:
        """Open a scan in a worker, add its layer and make it the active stack.

        Parameters
        ----------
        paths : sequence of path
            As for `io.open_scan`.
        failed : callable
            Gets one sentence if it does not work.
        """
        from .layers import scan_layer

        job = self.job("open")

        def make():
            yield scan_layer(list(paths))

        def ended(state: str) -> None:
            job.ended.disconnect(ended)
            if state == "failed":
                failed(job.error)

        if not job.running:
            job.ended.connect(ended)
            job.start(make, "Open scan")

    def _add_opened(self, layer_data: tuple[Any, dict, str]) -> None:
        viewer = self.viewer
        if viewer is not None:
            data, options, kind = layer_data
            make_room(viewer.layers, options)
            layer = Layer.create(data, options, kind)
            viewer.add_layer(layer)

    # --------------------------------------------------------------- lifecycle

    def watch_soon(self, widget: QWidget) -> None:
        """Close this session with the window that will hold `widget` once it is shown."""
        widget.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Show and isinstance(watched, QWidget):
            self._watch(watched)
        elif event.type() == QEvent.Type.Close and isinstance(watched, QMainWindow):
            self._leaves.start()  # when the window has answered: a user may decline
        return False

    def _on_leaving(self) -> None:
        window = None if self._window is None else self._window()
        with suppress(RuntimeError):  # Qt's part of it is deleted; `destroyed` has told
            if window is None or not window.isVisible():
                self.close()

    def _watch(self, widget: QWidget) -> None:
        window = widget.parentWidget()
        while window is not None and not isinstance(window, QMainWindow):
            window = window.parentWidget()
        while isinstance(above := window and window.parentWidget(), QWidget):
            window = above
        if window is not None and id(window) not in self._watched:
            self._watched.add(id(window))
            window.destroyed.connect(self.close)
            self._window = weakref.ref(window)
            window.installEventFilter(self)  # PySide6 may keep a closed window for long

    def close(self) -> None:
        """Stop the jobs and disconnect from the viewer."""
        if self.closed:
            return
        viewer = self._viewer()
        self.closed = True
        self._rest.stop()
        self._leaves.stop()
        if viewer is not None:
            viewer.layers.events.inserted.disconnect(self._view.align)
            viewer.layers.events.inserted.disconnect(self._on_inserted)
            viewer.layers.events.removing.disconnect(self._on_removing)
            viewer.layers.events.removed.disconnect(self._on_removed)
            viewer.dims.events.current_step.disconnect(self._on_step)
            viewer.events.theme.disconnect(self._on_theme)
            _sessions.pop(viewer, None)
        for job in self._jobs.values():
            job.close()
        self.closing.emit()

    # ------------------------------------------------------------ layer events

    def _on_inserted(self, event) -> None:
        layer = event.value
        self._welcome(layer)
        if factory.info_of(layer).pop("opened", False):
            self.set_stack(layer)  # what was just opened is what the docks work on
            self.viewer.reset_view(layers=[layer])
        self.stacks_changed.emit()

    def _welcome(self, layer: Layer) -> None:
        if not _may_be_stack(layer):
            return
        layer.events.name.connect(self._on_renamed)
        if self.stack is None:
            self.set_stack(layer)

    def _on_removing(self, _event=None) -> None:
        make_canvas_current(self._viewer())

    def _on_removed(self, event) -> None:
        layer = event.value
        if _may_be_stack(layer):
            layer.events.name.disconnect(self._on_renamed)
        stack = self.stack_of(layer)
        was_active = self._stack is not None and self._stack() is layer
        if was_active:
            others = self.stacks()
            self._stack = None
            if others:
                self.set_stack(others[0])
            else:
                self._view.follow()
                self.stack_changed.emit(None)
        self.stacks_changed.emit()
        if stack is not None:
            self.results_changed.emit(stack)

    def _on_theme(self, _event: object = None) -> None:
        self.theme_changed.emit()

    def _on_step(self, _event=None) -> None:
        self._view.show_caption()
        self._rest.start()

    def _on_renamed(self, _event=None) -> None:
        self.stacks_changed.emit()


def _warm_up() -> Generator[Progress, None, None]:
    yield Progress(0, 1)
    factory.warm_up()
    yield Progress(1, 1)


def _may_be_stack(layer: Layer) -> bool:
    return isinstance(layer, Image) and factory.kind_of(layer) in ("", "scan")
