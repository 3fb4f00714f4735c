"""What the training pairs of the Background dock run: a preview, and the whole set."""

from __future__ import annotations

import weakref
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.utils.colormaps import DirectLabelColormap
from qtpy.QtCore import QObject, Signal

from ...background import BackgroundSet
from ...core.jobs import Progress
from ...scan.scan import Scan
from ...training.crops.own_scan_settings import TrainingSetSettings
from ..app import layers as factory
from ..app.selection import keeping_selection
from .controller import placement

if TYPE_CHECKING:
    from ...training.crops.paper_pairs import TrainingSet
    from ..app.session import Session

#: Names of the layers of a preview.
LAYERS = ("training pair [x]", "training pair [y_c]")


@dataclass(frozen=True, eq=False)
class Wanted:
    """What a preview shows: pair `number` of a set, in the geometry of a scan or the paper's."""

    paths: tuple[Path, ...]
    settings: TrainingSetSettings
    scan: Scan | None
    number: int


@dataclass(frozen=True, eq=False)
class Known:
    """What previews share, so that a slider costs no simulation."""

    paths: tuple[Path, ...]
    sets: list[BackgroundSet]
    made: TrainingSet


@dataclass(frozen=True, eq=False)
class Mixed:
    """One pair, and how to show it."""

    frame: np.ndarray
    mask: np.ndarray
    limits: tuple[float, float]
    sentence: str


def preview(wanted: Wanted, known: Known | None) -> Generator[Progress | Known | Mixed, None, None]:
    """One pair of a training set."""
    from ...training.crops.paper_pairs import TrainingSet, samples_of

    yield Progress(0, 0, "Mixing" if known else "Simulating a sample")
    if known is None or known.paths != wanted.paths:
        sets, like = [BackgroundSet.load(path) for path in wanted.paths], None
    else:
        sets, like = known.sets, known.made
    samples = samples_of(wanted.settings, wanted.scan)
    made = TrainingSet(wanted.settings, sets, samples, like=like)
    yield Known(wanted.paths, sets, made)
    pair = made.pair(wanted.number)
    low, high = (float(v) for v in np.percentile(pair.frame[::4, ::4], (0.5, 99.8)))
    text = f"Pair {wanted.number}: {pair.made_from['sample']} over {pair.made_from['background']}"
    if len(pair.spots):
        weak, middle, strong = np.percentile(pair.spots["snr"], (5, 50, 95))
        text += f", {len(pair.spots)} spots, SNR {weak:.2g} to {strong:.2g}, median {middle:.2g}"
    yield Mixed(pair.frame, pair.mask, (low, max(high, low + 1)), f"{text}. {made.note}".strip())


def make(
    paths: tuple[Path, ...], settings: TrainingSetSettings, scan: Scan | None, folder: Path
) -> Iterator[Progress]:
    """Write a training set."""
    from ...training.crops.paper_pairs import TrainingSet, samples_of

    yield Progress(0, 0, "Simulating the samples")
    sets = [BackgroundSet.load(path) for path in paths]
    yield from TrainingSet(settings, sets, samples_of(settings, scan)).write(folder)


def discard(folder: Path) -> Iterator[Progress]:
    """Delete a training set."""
    from ...training.crops.paper_pairs import discard

    discard(folder)
    yield Progress(1, 1)


class PairsController(QObject):
    """Preview and training set of one viewer; a run goes on when its dock is closed.

    Attributes
    ----------
    shown : signal(Mixed)
        A pair is on the screen.
    """

    shown = Signal(object)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self.job = session.job("training set")
        self.preview_job = session.job("training pair")
        self._discard_job = session.job("discard training set")
        self._known: Known | None = None
        self._next: Wanted | None = None
        self._layers: dict[str, weakref.ref[Layer]] = {}
        self._folder: Path | None = None
        self.preview_job.delivered.connect(self._on_preview)
        self.preview_job.ended.connect(self._go_on)

    def preview(self, wanted: Wanted) -> None:
        """Show a pair; of several requests the last counts."""
        self._next = wanted
        if self.preview_job.running:
            self.preview_job.cancel()
        else:
            self._go_on()

    def _go_on(self, _state: str = "") -> None:
        wanted, self._next = self._next, None
        if wanted is not None:
            known = self._known
            self.preview_job.start(lambda: preview(wanted, known), "Training pair")

    def _on_preview(self, thing: object) -> None:
        if isinstance(thing, Known):
            self._known = thing
        elif isinstance(thing, Mixed) and self._session.viewer is not None:
            self._put(LAYERS[0], thing.frame).contrast_limits = thing.limits
            self._put(LAYERS[1], thing.mask)
            self.shown.emit(thing)

    def _put(self, name: str, image: np.ndarray) -> Layer:
        layers, layer = self._session.viewer.layers, self._layer(name)
        if layer is not None and layer.data.shape == image.shape:
            layer.data = image
            return layer
        if layer is not None:
            layers.remove(layer)
        stack = self._session.stack
        shared = {
            "name": factory.free_name([x.name for x in layers], name),
            "metadata": {factory.KEY: {"kind": "training pair", "recipe": {}}},
            **({} if stack is None else placement(stack)),
        }
        if stack is not None:
            # in another size it is shown over the projection, not beyond the edges of the canvas
            factor = max(stack.data.shape[-2:]) / max(image.shape)
            shared["scale"] = tuple(factor * v for v in shared["scale"])
        if name == LAYERS[0]:
            layer = Image(image, **shared)
        else:
            colours = DirectLabelColormap(color_dict={None: factory.CYAN, 0: "transparent"})
            layer = Labels(image, colormap=colours, opacity=0.6, **shared)
            layer.contour = 1
        with keeping_selection(layers):
            layers.append(layer)
        self._layers[name] = weakref.ref(layer)
        return layer

    def _layer(self, name: str) -> Layer | None:
        ref = self._layers.get(name)
        layer = None if ref is None else ref()
        return layer if self._session.contains(layer) else None

    @property
    def has_preview(self) -> bool:
        """Whether a pair is shown."""
        return any(self._layer(name) is not None for name in LAYERS)

    def hide_preview(self) -> None:
        """Take the layers of the preview away."""
        self._next = None
        self.preview_job.cancel()
        for name in LAYERS:
            layer = self._layer(name)
            if layer is not None:
                self._session.viewer.layers.remove(layer)
        self._layers.clear()

    def make(self, wanted: Wanted, folder: Path) -> None:
        """Write a training set into a folder."""
        self._folder = folder
        paths, settings, scan = wanted.paths, wanted.settings, wanted.scan
        self.job.start(lambda: make(paths, settings, scan, folder), "Training set")

    def discard(self) -> None:
        """Delete what a stopped run has written."""
        folder = self._folder
        if self.job.running or folder is None:
            return
        if self.job.progress.total:  # it had begun to write; not if it was refused
            self._discard_job.start(lambda: discard(folder), "Discard training set")
        self.job.discard()
