"""Which spots the grains are made of: masks of the active stack, or a file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Layer

from ...core.errors import SettingsError
from ...scan.scan import Scan
from ...spots.binarisation import BinaryFrames, binary_recipe
from ..app import layers as factory
from .tasks import Masks, read_masks

if TYPE_CHECKING:
    from ..app.session import Session

_MASKS = ("network mask", "routine mask", "mask", "truth")


def mask_layers(session: Session, stack: Layer | None) -> list[Layer]:
    """Layers with masks of a stack, the newest of each kind first, then those of the user."""
    viewer = session.viewer
    if stack is None or viewer is None:
        return []
    found = [layer for kind in _MASKS for layer in reversed(session.results(stack, kind))]
    shape = tuple(stack.data.shape)
    for layer in viewer.layers:
        if layer is stack or tuple(getattr(layer.data, "shape", ())) != shape:
            continue
        ours = factory.kind_of(layer)
        # a mask that the user opened is taken for a scan by its name's end
        binary = isinstance(layer, Image) and layer.data.dtype in (np.uint8, bool)
        if (isinstance(layer, Labels) and not ours) or (binary and ours in ("", "scan")):
            found.append(layer)
    return found


def masks_of(layer: Layer, scan: Scan) -> Masks:
    """The spots of a layer as they are now.

    Raises
    ------
    SettingsError
        Not every projection has its mask yet.
    """
    data, info = layer.data, factory.info_of(layer)
    made: dict[str, Any] = dict(info.get("recipe") or {})
    done = getattr(data, "done", None)
    if isinstance(data, BinaryFrames):
        done = getattr(data.cleaned, "done", None)
        made = binary_recipe(made, data.settings)
        data = BinaryFrames(data.cleaned, data.settings)
    if done is not None and not np.all(done):
        raise SettingsError(
            f"Only {int(np.sum(done))} of {len(done)} projections have their spots in "
            f"'{layer.name}'; denoise the whole stack first."
        )

    def read() -> tuple[Any, str]:
        from ...spots.stacks import Enlarged

        stack = data
        if tuple(stack.shape[1:]) != scan.shape:
            stack = Enlarged(stack, scan.shape)
        if made:
            text = json.dumps(made, sort_keys=True, default=str).encode()
            return stack, hashlib.sha256(text).hexdigest()[:16]
        digest = hashlib.sha256()
        for index in range(stack.shape[0]):
            digest.update(np.packbits(np.asarray(stack[index]) != 0).tobytes())
        return stack, digest.hexdigest()[:16]

    return Masks(layer.name, read)


def masks_in(path: str | Path, scan: Scan) -> Masks:
    """The spots in a file."""
    return Masks(Path(path).name, lambda: read_masks(path, scan))
