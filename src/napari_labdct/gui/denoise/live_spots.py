"""Spots that follow the threshold: the shown projection is cut and counted in a worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from napari.layers import Layer
from qtpy.QtCore import QObject, Signal

from ...spots.binarisation import BINARISED, SpotSettings
from ..app.job import LatestJob
from ..app.layers import info_of, remember
from ..app.live_mask import LiveMask
from .tasks import cut

if TYPE_CHECKING:
    from ..app.session import Session

_Request = tuple[LiveMask, int, SpotSettings]


class LiveSpots(QObject):
    """Cuts the newest mask of a stack with other settings; of several requests the last counts.

    Parameters
    ----------
    session : Session
    mask_of : callable
        The mask layer of a stack that follows the threshold.

    Attributes
    ----------
    cut : signal(int, int)
        Number of spots of a frame of the active stack, and the frame.
    """

    cut = Signal(int, int)

    def __init__(self, session: Session, mask_of: Callable[[Layer | None], Layer | None]) -> None:
        super().__init__(session)
        self._session, self._mask_of = session, mask_of
        self._at_work: LiveMask | None = None
        self._latest = LatestJob(session.job("spots"), self._begin)
        self._latest.job.delivered.connect(self._on_cut)

    def set_spots(self, stack: Layer | None, settings: SpotSettings) -> None:
        """Cut the result of a stack with other settings; the network does not run."""
        mask = self._live(stack)
        if mask is not None:
            self._latest.ask((mask, self._session.shown_frame(stack), settings))

    def recount(self, stack: Layer | None) -> None:
        """Count the spots of the shown frame."""
        mask = self._live(stack)
        if mask is not None:
            self.set_spots(stack, mask.settings)

    def _live(self, stack: Layer | None) -> LiveMask | None:
        layer = self._mask_of(stack)
        return layer.data if layer is not None and isinstance(layer.data, LiveMask) else None

    def _begin(self, request: _Request):
        self._at_work = request[0]
        return (lambda: cut(*request)), "Cut spots"

    def _on_cut(self, result: tuple[SpotSettings, int, int]) -> None:
        settings, index, count = result
        mask = self._at_work
        changed = mask.settings != settings
        mask.adopt(settings)
        for stack in self._session.stacks():
            for layer in self._session.results(stack, "network mask"):
                if layer.data is mask:
                    self._session.refresh(layer, [index])
                    if changed:
                        write_spots_into(layer, settings)
                        self._session.results_changed.emit(stack)
        # Neither a frame that no network has seen nor another scan's has a number of spots here.
        if mask.is_done(index) and mask is self._live(self._session.stack):
            self.cut.emit(count, index)


def write_spots_into(layer: Layer, settings: SpotSettings) -> None:
    """Keep how the mask was cut in the layer's recipe."""
    made = dict(info_of(layer).get("recipe", {}))
    remember(layer, recipe={**made, BINARISED: settings.to_dict()})
