"""The preview of one projection: computed in a worker, shown as three layers."""

from __future__ import annotations

import threading
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Layer, Points
from napari.utils.colormaps import DirectLabelColormap

from ...core.jobs import Progress
from ...simulation.settings import SimulateSettings
from ..app import layers as factory
from ..app.predicted_spots import features_of, grain_colours, ring_px
from ..widgets.grains_view import Grains, colour

if TYPE_CHECKING:
    from ...simulation import Projection, Simulation


@dataclass(frozen=True, eq=False)
class Preview:
    """One projection as it would be written, its truth and its spots."""

    settings: SimulateSettings
    index: int
    image: np.ndarray
    truth: np.ndarray
    spots: np.ndarray
    limits: tuple[float, float]
    pixel_um: float
    grains: Grains
    sentence: str


class _LastSimulation:
    """Keeps the sample used last in memory; making one takes a second.

    A simulation projects into its own buffers, so only one thread may use it at a time.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._simulation: Simulation | None = None
        self._grains: Grains | None = None

    def make(self, settings: SimulateSettings) -> None:
        """Make the sample of these settings if it is not the last one."""
        from ...simulation import Simulation

        with self._lock:
            last, self._simulation = self._simulation, None
            if last is None or last.settings != settings:
                same = last is not None and _sample(last.settings) == _sample(settings)
                grains = last.grains if same else None
                del last  # the old one first: two large samples may not fit
                made = Simulation(settings, grains=grains)
                if grains is None:
                    self._grains = colour(made.grains, made.material.symmetry)
                last = made
            self._simulation = last

    def preview(self, settings: SimulateSettings, index: int) -> Preview:
        """One projection of it."""
        with self._lock:
            self.make(settings)
            return _project(self._simulation, self._grains, index)


_last = _LastSimulation()

# What a virtual sample follows from: its own settings, and the pixel for its voxels.
_OF_SAMPLE = (
    "sample", "diameter_um", "height_um", "mean_grain_um", "spread", "top_grain_um", "voxel_um",
    "seed", "material", "pixel_um", "binning", "source_sample_mm", "sample_detector_mm",
)  # fmt: skip


def _sample(settings: SimulateSettings) -> tuple[Any, ...]:
    # A file may have changed since it was read.
    read = object() if settings.sample == "grain map" else None
    return (*(getattr(settings, name) for name in _OF_SAMPLE), read)


def preview(settings: SimulateSettings, index: int) -> Generator[Progress | Preview, None, None]:
    """One projection, the same pixels as `simulate_scan` writes."""
    yield Progress(0, 0, "Making the sample")
    _last.make(settings)
    yield Progress(0, 0, "Projecting")
    yield _last.preview(settings, index)


def _project(simulation: Simulation, grains: Grains, index: int) -> Preview:
    settings = simulation.settings
    projection = simulation.project(settings.omega_deg[index], index)
    image = simulation.grey(projection, index)
    visible = projection.spots[projection.spots["area_px"] > 0].copy()
    visible["frame"] = 0
    return Preview(
        settings,
        index,
        image,
        (projection.labels > 0).astype(np.uint8),
        visible,
        spot_limits(settings, projection),
        simulation.geometry.pixel_um,
        grains,
        _sentence(simulation, projection),
    )


def _sentence(simulation: Simulation, projection: Projection) -> str:
    grains, spots = simulation.grains, projection.spots
    visible = spots[spots["area_px"] > 0]
    peak = f", median peak {np.median(visible['peak']):.3g} grey" if len(visible) else ""
    unseen = spots[spots["area_px"] == 0]
    hidden = int((unseen["cells_outside_stop"] == 0).sum())
    return (
        f"{len(visible)} spots in the truth{peak}; {hidden} behind the beam stop, "
        f"{len(unseen) - hidden} too weak. {grains.n_grains} grains of "
        f"{np.mean(grains.diameters_um):.3g} um on average; "
        f"{simulation.beam.flux_per_s_mm2:.2g} photons/s/mm2 at the sample."
    )


def spot_limits(settings: SimulateSettings, projection: Projection) -> tuple[float, float]:
    """Contrast limits: from the background to the peak that three spots of four stay below."""
    low = float(settings.background)
    peaks = projection.spots["peak"][projection.spots["area_px"] > 0]
    high = float(np.percentile(peaks, 75)) if len(peaks) else float(projection.image.max())
    return low, low + max(high, 1.0)


def preview_layers(made: Preview, scale: tuple[float, float]) -> list[Layer]:
    """Image, outlines of the truth and spots of a preview; none of them is a scan."""
    info = {factory.KEY: {"kind": "preview"}}
    shared = {"scale": scale, "units": ("um", "um"), "axis_labels": ("y", "x")}
    image = Image(
        made.image, name="simulation preview", contrast_limits=made.limits, metadata=info, **shared
    )
    truth = _outlines(made.truth, name="simulation preview [truth]", metadata=info, **shared)
    colours = _spot_colours(made)
    spots = Points(
        _places(made),
        ndim=2,
        name="simulation preview [spots]",
        features=features_of(made.spots) if len(colours) else None,
        face_color="transparent",
        border_color=colours if len(colours) else "white",
        border_width=0.08,
        size=ring_px(made.image.shape[1]),
        metadata=info,
        **shared,
    )
    _suit(image, made)
    return [image, truth, spots]


def fill_preview(layers: list[Layer], made: Preview) -> None:
    """Show another preview in the layers of `preview_layers`."""
    image, truth, spots = layers
    image.data, truth.data = made.image, made.truth
    _suit(image, made)
    colours = _spot_colours(made)
    spots.selected_data = set()
    spots.data = _places(made)
    if len(colours):
        spots.features = features_of(made.spots)
        spots.border_color = colours
        spots.size = ring_px(made.image.shape[1])


def _outlines(mask: np.ndarray, **options: Any) -> Labels:
    layer = Labels(
        mask,
        colormap=DirectLabelColormap(color_dict={None: factory.WHITE, 0: "transparent"}),
        opacity=0.6,
        **options,
    )
    layer.contour = 1
    layer.visible = False
    layer.editable = False
    return layer


def _suit(image: Image, made: Preview) -> None:
    image.contrast_limits_range = (min(0.0, made.limits[0]), 20 * made.limits[1])
    image.contrast_limits = made.limits
    factory.remember(image, recipe={"job": "simulate", "settings": made.settings.to_dict()})


def _places(made: Preview) -> np.ndarray:
    return np.column_stack([made.spots["row"], made.spots["col"]]).astype(float)


def _spot_colours(made: Preview) -> np.ndarray:
    return grain_colours(made.spots["grain"], made.grains.map.grain_ids, made.grains.colours)
