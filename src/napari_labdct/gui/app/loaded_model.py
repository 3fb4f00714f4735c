"""The model used last stays in memory."""

from __future__ import annotations

import threading
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...core.jobs import Progress
from ...networks.library import find_model

if TYPE_CHECKING:
    from ...networks.model import Model


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
        from ...networks.devices import devices, quickest
        from ...networks.model import Model

        device = quickest(devices()) if device == "auto" else device
        key = (name, device, find_model(name).stat().st_mtime)
        with self._lock:
            if self._model is None or self._key != key:
                self._model = Model.load(name, device)
                self._key = key
            return self._model


models = _LastModel()


def read_card(model: str) -> Generator[Progress | ModelCard, None, None]:
    """Load a model and tell what it is."""
    from ...networks.devices import devices
    from ...networks.runtimes import available_runtimes

    yield Progress(0, 0, "Looking at the model")
    loaded = models.get(model, "auto")
    yield ModelCard(model, loaded.info, devices() | available_runtimes())
