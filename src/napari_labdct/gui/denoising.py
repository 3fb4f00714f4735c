"""What the Denoise dock runs: generators for a worker, and the layers they lead to.

The generators below hold no Qt; `DenoiseController` lives in the session, so a run goes on
when its dock is closed and a reopened dock finds it.
"""

from __future__ import annotations

import json
import threading
import weakref
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Layer
from qtpy.QtCore import QObject, Signal

from ..denoising import Denoiser, DenoiseSettings, output_shape
from ..errors import LabDCTError, OutputError
from ..jobs import FrameStore, Progress, recipe_hash, spare_inputs, write_atomically
from ..learning.library import find_model
from ..scan import Scan
from ..spots import BinaryFrames, SpotSettings, binary_recipe
from ..tracking import Tracker
from . import preferences, stores
from .job import limit_threads, report
from .lazy import LiveMask
from .scan_control import LABELS

if TYPE_CHECKING:
    from ..learning.model import Model
    from .session import Session

# Working memory of a network for a pixel of the projection, bytes; see benchmarks/denoise_speed.py.
_BYTES_A_PIXEL = {"compact": 200, "accurate": 350, "paper": 1900}


@dataclass(frozen=True)
class Opened:
    """A result file ready to be filled: sent to the GUI before the first frame."""

    store: FrameStore
    recipe: dict[str, Any]
    mask: LiveMask


@dataclass(frozen=True)
class ModelCard:
    """What the dock tells of a model, and the devices of this computer."""

    model: str
    info: dict[str, Any]
    devices: dict[str, str]


class _LastModel:
    """Keeps the model used last in memory; loading one takes seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key: tuple[str, str, float] | None = None
        self._model: Model | None = None

    def get(self, name: str, device: str) -> Model:
        from ..learning.model import Model, resolve_device

        device = str(resolve_device()) if device == "auto" else device
        key = (name, device, find_model(name).stat().st_mtime)
        with self._lock:
            if self._model is None or self._key != key:
                self._model = Model.load(name, device)
                self._key = key
            return self._model


models = _LastModel()


def read_card(model: str) -> Generator[Progress | ModelCard, None, None]:
    """Load a model and tell what it is."""
    from ..learning.model import devices
    from ..learning.runtimes import available_runtimes

    yield Progress(0, 0, "Looking at the model")
    loaded = models.get(model, "auto")
    yield ModelCard(model, loaded.info, devices() | available_runtimes())


def denoise(
    scan: Scan,
    settings: DenoiseSettings,
    frames: Sequence[int],
    folder: Path,
    limit_gb: float,
    spots: SpotSettings | None = None,
    shown: int = 0,
) -> Generator[Progress | Opened, None, None]:
    """Clean frames into a result file in the cache folder, new or begun before.

    Parameters
    ----------
    scan : Scan
    settings : DenoiseSettings
    frames : sequence of int
    folder, limit_gb
        Where results are kept, and how large that folder may grow.
    spots : SpotSettings, optional
        How the result is cut at first; with the model's threshold if not given.
    shown : int
        The frame on the screen, whose mask is cut here if it is done already.
    """
    yield Progress(0, 0, "Loading the model")
    model = models.get(settings.model, settings.device)
    limit_threads()
    denoiser = Denoiser(scan, settings, model)
    yield Progress(0, 0, "Opening the result file")
    cut_so = spots or SpotSettings(threshold=model.threshold)
    opened = _open(denoiser, denoiser.shape, scan, folder, limit_gb, cut_so, shown)
    yield opened
    yield from denoiser.run(opened.store, frames)


def track(
    scan: Scan,
    cleaned: FrameStore,
    folder: Path,
    limit_gb: float,
    spots: SpotSettings,
    shown: int = 0,
) -> Generator[Progress | Opened, None, None]:
    """Confirm the spots of a cleaned stack by its neighbours, into a result file of its own.

    Parameters are those of `denoise`; `cleaned` is the whole output of it.
    """
    yield Progress(0, 0, "Looking at the geometry")
    tracker = Tracker(scan, cleaned)
    yield from tracker.survey()
    opened = _open(tracker, cleaned.shape, scan, folder, limit_gb, spots, shown)
    yield opened
    yield from tracker.run(opened.store)


def _open(
    job: Denoiser | Tracker,
    shape: tuple[int, int, int],
    scan: Scan,
    folder: Path,
    limit_gb: float,
    spots: SpotSettings,
    shown: int,
) -> Opened:
    """The result file of a job in the cache folder, new or begun before."""
    made = job.recipe()
    path = stores.result_path(folder, scan.name, recipe_hash(made))
    stores.make_room(folder, int(np.prod(shape)), limit_gb, path)
    try:
        store = stores.acquire(path, lambda: job.open_store(path))
    except OutputError as error:
        raise OutputError(
            f"{error} The folder for results is set in Preferences > LabDCT."
        ) from error
    mask = LiveMask(store, spots)
    mask.prepare(shown, mask.settings)
    mask.asleep = True
    return Opened(store, made, mask)


def cut(mask: LiveMask, index: int, settings: SpotSettings) -> Generator[Any, None, None]:
    """Cut one frame anew and count its spots."""
    yield settings, index, mask.prepare(index, settings)


def save_frames(
    path: Path, stack: Any, orientation: int, made: dict[str, Any]
) -> Generator[Progress, None, None]:
    """Write a stack as TIFF, one page a projection, and its recipe beside it."""
    from ..io import write_frames

    total = int(stack.shape[0])

    def frames() -> Iterator[np.ndarray]:
        for index in range(total):
            report(Progress(index, total))
            yield np.asarray(stack[index])

    yield Progress(0, total)
    write_frames(path, frames(), orientation=orientation, count=total)
    write_atomically(path.with_name(f"{path.name}.json"), json.dumps({"recipe": made}, indent=1))
    yield Progress(total, total, f"Wrote {path}")


def disk_bytes(scan: Scan, output_px: int | None) -> int:
    """Size of the result file of a whole scan."""
    return int(scan.n_frames * np.prod(output_shape(scan.shape, output_px)))


def memory_bytes(scan: Scan, window: int, network: str = "compact") -> int:
    """Estimate of the working memory of a run: the median's window twice, and the network."""
    pixels = int(np.prod(scan.shape))
    frames = min(window, scan.n_frames) if scan.n_frames >= 3 else 0
    return pixels * (2 * frames * scan.dtype.itemsize + _BYTES_A_PIXEL[network])


class DenoiseController(QObject):
    """Runs, layers and files of denoising in one viewer.

    Attributes
    ----------
    opened : signal(Opened)
        A run has found its file and its layers are shown.
    cut : signal(int, int)
        Number of spots of a frame, and the frame.
    said : signal(str)
        A sentence for the status line.
    """

    opened = Signal(object)
    cut = Signal(int, int)
    said = Signal(str)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self.job = session.job("denoise")
        self.export_job = session.job("export")
        self._cut_job = session.job("spots")
        self._stack: weakref.ref[Layer] | None = None
        self._store: weakref.ref[FrameStore] | None = None
        self._wanted: tuple[LiveMask, int, SpotSettings] | None = None
        self.job.delivered.connect(self._on_opened)
        self.job.frames_done.connect(self._on_frames)
        self.job.ended.connect(self._on_ended)
        self._cut_job.delivered.connect(self._on_cut)
        self._cut_job.ended.connect(self._on_cut_ended)
        session.stacks_changed.connect(self._on_layers)
        session.scan_changed.connect(self._on_scan)

    # --------------------------------------------------------------------- running

    def start(
        self,
        layer: Layer,
        settings: DenoiseSettings,
        frames: Sequence[int],
        spots: SpotSettings | None = None,
    ) -> None:
        """Clean frames of a stack in a worker and show them as they come.

        Parameters
        ----------
        layer : Layer
        settings : DenoiseSettings
        frames : sequence of int
        spots : SpotSettings, optional
            How to cut the result; with the model's own threshold if not given.
        """
        scan = self._session.scan(layer)
        folder = preferences.cache_folder()
        limit = float(preferences.preference("cache_limit_gb"))
        shown = self._session.shown_frame(layer)
        self._stack, self._store = weakref.ref(layer), None  # nothing to discard yet
        self.job.start(
            lambda: denoise(scan, settings, frames, folder, limit, spots, shown),
            f"Denoise {layer.name}",
        )

    def track(self, layer: Layer, spots: SpotSettings) -> None:
        """Confirm the spots of a stack through the rotation, in a worker; see `tracking`.

        Parameters
        ----------
        layer : Layer
        spots : SpotSettings
            How to cut the result.

        Raises
        ------
        LabDCTError
            `why_no_tracks` says why.
        """
        reason = self.why_no_tracks(layer)
        if reason:
            raise LabDCTError(reason)
        scan, cleaned = self._session.scan(layer), self._denoised(layer)
        folder = preferences.cache_folder()
        limit = float(preferences.preference("cache_limit_gb"))
        shown = self._session.shown_frame(layer)
        self._stack, self._store = weakref.ref(layer), None  # nothing to discard yet
        self.job.start(
            lambda: track(scan, cleaned, folder, limit, spots, shown), f"Track {layer.name}"
        )

    def _denoised(self, layer: Layer) -> FrameStore | None:
        """The newest output of the network itself."""
        stores = (found.data for found in self._session.results(layer, "cleaned"))
        denoised = [store for store in stores if store.recipe["job"] == "denoise"]
        return denoised[-1] if denoised else None

    def why_no_tracks(self, layer: Layer) -> str:
        """What must be done before spots can be tracked; empty if nothing."""
        denoised = self._denoised(layer)
        if denoised is None or not denoised.complete:
            return "Tracks need the whole stack denoised."
        missing = self._session.scan(layer).missing_for("tracks")
        if missing:
            words = ", ".join(LABELS.get(name, name) for name in missing)
            return f"Tracks need the {words}: enter them in the Scan dock."
        return ""

    def discard(self) -> None:
        """Forget a stopped run: its layers go, and its file."""
        store = None if self._store is None else self._store()
        viewer = self._session.viewer
        if self.job.running:
            return
        if store is not None and viewer is not None:
            for stack in self._session.stacks():
                for layer in self._session.results(stack):
                    if layer.data is store or getattr(layer.data, "cleaned", None) is store:
                        viewer.layers.remove(layer)
            stores.forget(store)
            store.discard()
        self._store = None
        self.job.discard()

    def cleaned_layer(self, stack: Layer | None) -> Layer | None:
        """The newest cleaned result of a stack."""
        found = [] if stack is None else self._session.results(stack, "cleaned")
        return found[-1] if found else None

    def mask_layer(self, stack: Layer | None) -> Layer | None:
        """The newest mask of the network's result."""
        found = [] if stack is None else self._session.results(stack, "network mask")
        return found[-1] if found else None

    # ----------------------------------------------------------------------- spots

    def set_spots(self, stack: Layer, settings: SpotSettings) -> None:
        """Cut the result of a stack with other settings; the network does not run."""
        self._want(stack, settings)

    def recount(self, stack: Layer | None) -> None:
        """Count the spots of the shown frame."""
        layer = self.mask_layer(stack)
        if layer is not None and isinstance(layer.data, LiveMask):
            self._want(stack, layer.data.settings)

    def _want(self, stack: Layer, settings: SpotSettings) -> None:
        layer = self.mask_layer(stack)
        if layer is None or not isinstance(layer.data, LiveMask):
            return
        self._wanted = (layer.data, self._session.shown_frame(stack), settings)
        if not self._cut_job.running:
            self._cut_next()

    def _cut_next(self) -> None:
        wanted, self._wanted = self._wanted, None
        if wanted is not None:
            self._cutting = wanted[0]
            self._cut_job.start(lambda: cut(*wanted), "Cut spots")

    def _on_cut(self, result: tuple[SpotSettings, int, int]) -> None:
        settings, index, count = result
        mask = self._cutting
        changed = mask.settings != settings
        mask.adopt(settings)
        for stack in self._session.stacks():
            for layer in self._session.results(stack, "network mask"):
                if layer.data is mask:
                    self._session.refresh(layer, [index])
                    if changed:
                        _write_spots_into(layer, settings)
                        self._session.results_changed.emit(stack)
        self.cut.emit(count, index)

    def _on_cut_ended(self, _state: str) -> None:
        self._cut_next()

    # ---------------------------------------------------------------------- layers

    def _on_opened(self, opened: Opened) -> None:
        stack = None if self._stack is None else self._stack()
        session = self._session
        self._store = weakref.ref(opened.store)
        what = "DL tracked" if opened.recipe["job"] == "track" else None
        if stack is None or not session.contains(stack):
            return
        cleaned = next(
            (x for x in session.results(stack, "cleaned") if x.data is opened.store), None
        )
        if cleaned is None:
            cleaned = session.add_result(
                stack, opened.store, "cleaned", recipe=opened.recipe, what=what
            )
        else:
            session.renew_result(cleaned)
        mask = next(
            (
                x
                for x in session.results(stack, "network mask")
                if getattr(x.data, "cleaned", None) is opened.store
            ),
            None,
        )
        if mask is None:
            mask = session.add_result(
                stack,
                opened.mask,
                "network mask",
                recipe=opened.recipe,
                what=what and f"{what} spots",
            )
            _write_spots_into(mask, opened.mask.settings)
            opened.mask.asleep = False
        else:
            session.renew_result(mask)
        session.refresh(cleaned)
        self.opened.emit(opened)
        self.recount(stack)

    def _on_frames(self, frames: list[int]) -> None:
        stack = None if self._stack is None else self._stack()
        if stack is None:
            return
        self._session.refresh(self.cleaned_layer(stack), frames)
        if self._session.shown_frame(stack) in frames:
            self.recount(stack)

    def _on_ended(self, state: str) -> None:
        stack = None if self._stack is None else self._stack()
        if stack is None or not self._session.contains(stack):
            self.job.discard()
            self.said.emit("The scan's layer was removed, so the run was stopped.")
        elif state == "done":
            self._session.results_changed.emit(stack)

    def _on_scan(self, layer: Layer) -> None:
        # Resume would go on with the angles and distances of before; the frames stay in their file
        if self.job.resumable and self._stack is not None and layer is self._stack():
            self.job.discard()

    def _on_layers(self) -> None:
        stack = None if self._stack is None else self._stack()
        if self.job.running and (stack is None or not self._session.contains(stack)):
            self.job.cancel()

    # ---------------------------------------------------------------------- saving

    def export(self, stack: Layer, path: Path) -> None:
        """Write the binary stack: 8-bit TIFF, 0 and 255, one page a projection.

        Raises
        ------
        LabDCTError
            There is nothing to export.
        """
        layer = self.mask_layer(stack)
        if layer is None:
            raise LabDCTError("There are no spots to export yet; denoise the scan first.")
        mask = layer.data
        frames = BinaryFrames(mask.cleaned, mask.settings)
        made = layer.metadata["napari-labdct"]["recipe"]
        self._save(stack, path, frames, binary_recipe(made, mask.settings))

    def save_cleaned(self, stack: Layer, path: Path) -> None:
        """Write the cleaned stack, 0 to 255, where the user wants it.

        Raises
        ------
        LabDCTError
            There is nothing to save.
        """
        layer = self.cleaned_layer(stack)
        if layer is None:
            raise LabDCTError("There is no cleaned scan to save yet; denoise the scan first.")
        self._save(stack, path, layer.data, dict(layer.metadata["napari-labdct"]["recipe"]))

    def _save(self, stack: Layer, path: Path, frames: Any, made: dict[str, Any]) -> None:
        scan = self._session.scan(stack)
        spare_inputs([path], scan, frames)
        orientation = scan.orientation
        self.export_job.queue(
            lambda: save_frames(path, frames, orientation, made), f"Write {path.name}"
        )


def _write_spots_into(layer: Layer, settings: SpotSettings) -> None:
    """Keep how the mask was cut in the layer's recipe."""
    from .layers import info_of, remember

    made = dict(info_of(layer).get("recipe", {}))
    remember(layer, recipe={**made, "spots": settings.to_dict()})
