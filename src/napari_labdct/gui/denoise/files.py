"""Files of a result that the user wants: the mask as 0 and 255, and the network's result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Layer

from ...core.errors import LabDCTError
from ...core.frame_store import spare_inputs
from ...spots.binarisation import BinaryFrames, binary_recipe
from ..app.layers import info_of
from .tasks import save_frames

if TYPE_CHECKING:
    from ..app.session import Session


class ResultFiles:
    """Writes results of a stack, one after the other, in a worker.

    Parameters
    ----------
    session : Session
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.job = session.job("export")

    def write_mask(self, stack: Layer, path: Path) -> None:
        """Write the newest mask: 8-bit TIFF, 0 and 255, one page a projection.

        Raises
        ------
        LabDCTError
            There is nothing to export.
        """
        layer = self._newest(stack, "network mask")
        if layer is None:
            raise LabDCTError("There is no mask to export yet; denoise the scan first.")
        mask = layer.data
        frames = BinaryFrames(mask.cleaned, mask.settings)
        self._save(stack, path, frames, binary_recipe(info_of(layer)["recipe"], mask.settings))

    def write_result(self, stack: Layer, path: Path) -> None:
        """Write the newest network result, 0 to 255, where the user wants it.

        Raises
        ------
        LabDCTError
            There is nothing to save.
        """
        layer = self._newest(stack, "cleaned")
        if layer is None:
            raise LabDCTError("There is no network result to save yet; denoise the scan first.")
        self._save(stack, path, layer.data, dict(info_of(layer)["recipe"]))

    def _newest(self, stack: Layer, kind: str) -> Layer | None:
        found = self._session.results(stack, kind)
        return found[-1] if found else None

    def _save(self, stack: Layer, path: Path, frames: Any, made: dict[str, Any]) -> None:
        scan = self._session.scan(stack)
        spare_inputs([path], scan, frames)
        orientation = scan.orientation
        self.job.queue(lambda: save_frames(path, frames, orientation, made), f"Write {path.name}")
