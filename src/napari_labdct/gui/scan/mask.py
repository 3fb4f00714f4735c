"""The detector mask of a scan: found in a worker, shown as labels that can be painted, and used."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels, Layer
from napari.utils.colormaps import DirectLabelColormap
from qtpy.QtCore import QObject, Signal

from ...scan.scan import Scan
from ..app import layers as factory
from ..app.job import LatestJob, Make

if TYPE_CHECKING:
    from ..app.session import Session


def find_mask(scan: Scan) -> Generator[Any, None, None]:
    """Look for the mask in a worker; the scan keeps it."""
    yield scan.detector_mask


class MaskController(QObject):
    """Detector masks of the scans of one viewer.

    Attributes
    ----------
    found : signal
        The mask of a scan is known now.
    said : signal(str)
        A sentence for the status line.
    """

    found = Signal()
    said = Signal(str)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self._labels: weakref.WeakKeyDictionary[Layer, weakref.ref[Layer]] = (
            weakref.WeakKeyDictionary()
        )
        self._then: tuple[Callable[[Layer], None], Layer] | None = None
        job = session.job("detector mask")
        self._finding = LatestJob(job, self._find)
        job.ended.connect(self._on_ended)
        session.scan_changed.connect(self._on_scan)

    def about(self, layer: Layer) -> str:
        """What is left out, in a sentence; while nobody knows, it is looked for."""
        scan = self._session.scan(layer)
        if not scan.mask_known:
            self._finding.ask(layer)
            return "Looking..."
        return scan.about_mask().removeprefix("Detector mask: ") or "No pixel is left out."

    def _find(self, layer: Layer) -> tuple[Make, str] | None:
        if not self._session.contains(layer):
            return None
        scan = self._session.scan(layer)
        if scan.mask_known:
            return None
        return lambda: find_mask(scan), f"Find the detector mask of {layer.name}"

    def _on_ended(self, state: str) -> None:
        if state == "failed":
            self.said.emit(self._finding.job.error)
            return
        then, self._then = self._then, None
        if then is not None and self._session.contains(then[1]):
            then[0](then[1])
        self.found.emit()

    # -------------------------------------------------------------------- the layer

    def labels_of(self, layer: Layer) -> Layer | None:
        """The labels of a stack, if they are shown."""
        ref = self._labels.get(layer)
        labels = None if ref is None else ref()
        return labels if self._session.contains(labels) else None

    def show(self, layer: Layer) -> None:
        """Show the mask as labels, 1 where pixels are left out, to paint and to erase."""
        viewer, scan = self._session.viewer, self._session.scan(layer)
        if viewer is None:
            return
        if not scan.mask_known:
            self._then = (self.show, layer)
            self._finding.ask(layer)
            return
        labels = self.labels_of(layer)
        if labels is None:
            labels = self._made(layer, scan)
            self._labels[layer] = weakref.ref(labels)
            viewer.layers.append(labels)
        viewer.layers.selection.active = labels
        labels.mode = "paint"

    def _made(self, layer: Layer, scan: Scan) -> Layer:
        taken = [other.name for other in self._session.viewer.layers]
        labels = Labels(
            _image(scan),
            name=factory.free_name(taken, f"{layer.name} [detector mask]"),
            colormap=DirectLabelColormap(
                color_dict={None: factory.ORANGE, 0: "transparent", 1: factory.ORANGE}
            ),
            opacity=0.5,
            scale=layer.scale[-2:],
            translate=layer.translate[-2:],
            units=layer.units[-2:],
            axis_labels=layer.axis_labels[-2:],
            metadata={factory.KEY: {"kind": "detector mask", "stack": layer.name}},
        )
        labels.selected_label = 1
        labels.brush_size = max(3, max(scan.shape) // 60)
        return labels

    def use(self, layer: Layer) -> None:
        """Leave out what is painted.

        Raises
        ------
        ScanError
            Every pixel is painted.
        """
        labels = self.labels_of(layer)
        if labels is None:
            return
        scan = self._session.scan(layer)
        painted = np.asarray(labels.data) != 0
        description = scan.description
        if isinstance(description.mask, tuple):  # what is painted holds them already
            description = description.replace(mask=None)
        if painted.any():
            scan = scan.replace(mask=painted, description=description)
        else:
            scan = scan.replace(mask=None, description=description.replace(mask="none"))
        self._session.set_scan(layer, scan)

    def find_again(self, layer: Layer) -> None:
        """Forget what was given: what the projections show is left out."""
        scan = self._session.scan(layer)
        description = scan.description.replace(mask=None)
        scan = scan.replace(mask=None, description=description)
        if not scan.mask_known:
            self._then = (self._renew, layer)
        self._session.set_scan(layer, scan)
        if scan.mask_known:
            self._renew(layer)

    def _renew(self, layer: Layer) -> None:
        labels = self.labels_of(layer)
        if labels is not None:
            labels.data = _image(self._session.scan(layer))

    def _on_scan(self, layer: Layer) -> None:
        labels = self.labels_of(layer)
        if labels is not None:
            labels.scale, labels.units = layer.scale[-2:], layer.units[-2:]


def _image(scan: Scan) -> np.ndarray:
    mask = scan.detector_mask
    return np.zeros(scan.shape, np.uint8) if mask is None else mask.astype(np.uint8)
