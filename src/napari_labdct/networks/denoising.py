"""Clean projections with a trained network: model + frames + their rolling median."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from ..background.rolling_median import RollingMedian
from ..core.jobs import DENOISED, FrameJob, Output
from ..core.parameters import Param, Settings
from ..core.reading import free_memory
from ..core.recipes import recipe
from ..scan.detector_mask import Reading
from ..scan.scan import Scan
from .evidence import Evidence, least_significance, smallest_spot, spot_area
from .registry import NETWORKS

if TYPE_CHECKING:
    from .model import Model


@dataclass(frozen=True, kw_only=True)
class DenoiseSettings(Settings):
    """How a scan is cleaned; the threshold comes later and is no part of it."""

    job: ClassVar[str] = "denoise"

    model: Annotated[
        str,
        Param("Model", help="Name of a shipped or an own model, or a model file (.safetensors)."),
    ] = "compact"
    device: Annotated[
        str,
        Param(
            "Device",
            help="auto (the quickest that is here), cpu, cpu:bf16 (less precise, on processors "
            "made for it), cuda:0 ... or mps; onnxruntime or openvino if installed, often quicker "
            "than torch on a CPU.",
        ),
    ] = "auto"
    median_window: Annotated[
        int | None,
        Param(
            "Rolling median",
            "projections",
            3,
            361,
            2,
            "Projections whose median goes into the network beside the projection; the model's own "
            "window if not given.",
            advanced=True,
        ),
    ] = None
    use_median: Annotated[
        bool,
        Param(
            "Use rolling median",
            help="Without it the network sees one projection alone, which is clearly weaker.",
            advanced=True,
        ),
    ] = True
    binning: Annotated[
        int | None,
        Param(
            "Binning for wide spots",
            "px",
            1,
            8,
            1,
            "Squares of so many pixels are averaged before the network looks, for spots wider than "
            "it knows; 1, 2 or 4 as the spots of the scan ask for if not given.",
            advanced=True,
        ),
    ] = None
    augmentations: Annotated[
        int,
        Param(
            "Augmentations",
            "",
            1,
            8,
            1,
            "Test-time augmentation: average the network over n flips and rotations. Slightly "
            "better recall and precision, n times slower.",
            advanced=True,
            earlier="looks",
        ),
    ] = 1
    min_significance: Annotated[
        float | None,
        Param(
            "Least significance",
            "sigma",
            0,
            100,
            0.25,
            "Spots that stand out of the noise by less, in the best of many matched filters, stay "
            "below the threshold, whatever the network says; 4.5 in scans of small spots and 5 in "
            "others if not given. 0 asks for nothing.",
            advanced=True,
        ),
    ] = None
    smallest_px: Annotated[
        int | None,
        Param(
            "Smallest spot",
            "px",
            1,
            10000,
            1,
            "Smaller spots stay below the threshold; about a sixth of the area of the scan's sure "
            "spots if not given. 1 asks for nothing.",
            advanced=True,
        ),
    ] = None
    output_px: Annotated[
        int | None,
        Param(
            "Output size",
            "px",
            64,
            16384,
            1,
            "Longer edge of the network result: full size if not given; the paper used 1200.",
        ),
    ] = None


def output_shape(shape: tuple[int, int], output_px: int | None) -> tuple[int, int]:
    """Rows and columns of a cleaned frame; never larger than the projection."""
    longest = max(shape)
    if output_px is None or output_px >= longest:
        return shape
    rows, cols = (max(1, round(n * output_px / longest)) for n in shape)
    return rows, cols


#: More frames at once gain little: the memory of the computer is shared, too.
MOST_AT_ONCE = 4
# What the working memory of frames in flight may take of the memory that is free.
_MEMORY_PART = 0.5


def frames_in_flight(model: Model, shape: tuple[int, int]) -> int:
    """How many projections of a size a model may look at at once: as cores and memory allow."""
    if not getattr(model, "many_threads", False):
        return 1
    import torch

    need = shape[0] * shape[1] * NETWORKS[model.network].memory_bytes_per_px
    fit = int(_MEMORY_PART * free_memory() // max(need, 1))
    return max(1, min(torch.get_num_threads(), MOST_AT_ONCE, fit))


class Denoiser(FrameJob):
    """One model applied to the projections of one scan, in any order.

    Parameters
    ----------
    scan : Scan
    settings : DenoiseSettings
    model : Model, optional
        A loaded model; `settings.model` is loaded if not given.

    Attributes
    ----------
    note : str
        Empty, or what the user should know (window cut, no median, binning).
    binning : int
        Of every projection before the network looks; see `networks.spot_width`. The first to ask
        has a few projections read for it.

    Raises
    ------
    ModelError
        The model or the device cannot be used.
    """

    name = "denoise"
    settings_type = DenoiseSettings
    makes = DENOISED
    scan: Scan
    settings: DenoiseSettings

    def __init__(self, scan: Scan, settings: DenoiseSettings, model: Model | None = None) -> None:
        if model is None:
            from .model import Model

            model = Model.load(settings.model, settings.device)
        self.scan = scan
        self.settings = settings
        self.model = model
        self._about_median = ""
        self._remarks: dict[int, str] = {}
        self.median: RollingMedian | None = None
        if settings.use_median and scan.n_frames >= 3:
            self.median = RollingMedian(scan, settings.median_window or model.median_window)
            self._about_median = self.median.note
        elif settings.use_median:
            self._about_median = (
                f"A scan of {scan.n_frames} has no rolling median; the network sees single "
                "projections, which is weaker."
            )

    @property
    def binning(self) -> int:
        return self._binning_and_note[0]

    @cached_property
    def _binning_and_note(self) -> tuple[int, str]:
        if self.settings.binning:
            return self.settings.binning, ""
        if self.median is None:  # nothing tells spots from what is always there
            return 1, ""
        from .spot_width import scan_binning

        return scan_binning(self.scan)

    @cached_property
    def smallest_px(self) -> int:
        """Pixels of the smallest spot of this scan; to find it, projections are read."""
        if self.settings.smallest_px:
            return self.settings.smallest_px
        return 1 if self.median is None else smallest_spot(self._spot_area)

    @cached_property
    def min_significance(self) -> float:
        """Noise sigmas that a spot of this scan must show; to find it, projections are read."""
        if self.settings.min_significance is not None:
            return self.settings.min_significance
        return least_significance(0 if self.median is None else self._spot_area)

    @cached_property
    def _spot_area(self) -> float:
        return spot_area(self.scan)

    @cached_property
    def evidence(self) -> Evidence:
        """What a spot must show besides the network's word."""
        model = self.model
        return Evidence(self.min_significance, self.smallest_px, model.threshold, model.block_px)

    @property
    def note(self) -> str:
        n, about = self._binning_and_note
        if n > 1:
            reason = "As you set it" if self.settings.binning else "The spots are wide"
            about = f"{reason}: the network looks at {n} x {n} pixels as one."
        notes = (self._about_median, about, self.scan.about_mask())
        return " ".join(note for note in notes if note)

    @property
    def output(self) -> Output:
        shape = (self.scan.n_frames, *output_shape(self.scan.shape, self.settings.output_px))
        return Output(shape, np.uint8, orientation=self.scan.orientation)

    @property
    def at_once(self) -> int:
        return frames_in_flight(self.model, self.scan.shape)

    def sharing(self, parts: int) -> contextlib.AbstractContextManager[Callable[[], None]]:
        from .devices import shared_threads

        return shared_threads(parts)

    def frame(self, index: int) -> np.ndarray:
        """Projection `index` without background: uint8 ``(rows, cols)``, 255 on sure spots."""
        return self.finish(index, self.begin(index))

    def begin(self, index: int) -> tuple[Reading, np.ndarray | None]:
        """The projection and its rolling median, which goes from projection to projection."""
        reading = self.scan.reading(index)
        _ = self.evidence, self.binning  # may read projections too, so not in several threads
        median = None if reading.blank or self.median is None else self.median.at(index)
        return reading, median

    def finish(self, index: int, begun: tuple[Reading, np.ndarray | None]) -> np.ndarray:
        """What the network and the evidence make of them."""
        reading, median = begun
        shape = self.output.shape[1:]
        self._remarks[index] = reading.remark
        if reading.blank:
            return np.zeros(shape, np.uint8)
        frame = reading.image
        seen = self.model.see(frame, median, self.binning)
        probability = self.model.look(seen, frame.shape, self.binning, self.settings.augmentations)
        output = np.round(255 * np.clip(probability, 0, 1)).astype(np.uint8)
        if reading.left_out is not None:
            output[reading.left_out] = 0
        output = self.evidence.weigh_seen(output, None if median is None else seen[1], self.binning)
        if output.shape != shape:
            from skimage.transform import resize

            small = resize(output.astype(np.float32), shape, order=1, anti_aliasing=True)
            output = np.round(small).astype(np.uint8)
        return output

    def remark(self, index: int) -> str:
        """What of a projection could not be used."""
        return self._remarks.pop(index, "")

    def clean(self, index: int) -> np.ndarray:
        """As in version 0.1, for one more release: `frame`."""
        return self.frame(index)

    def recipe(self) -> dict[str, Any]:
        """What the cleaned stack is made of; the device makes no difference to it."""
        made = recipe(self.name, self.settings.replace(device="auto"), self.scan)
        model = self.model
        made["model"] = {"name": model.name, "sha256": model.sha256, "threshold": model.threshold}
        made["settings"]["median_window"] = self.median.window if self.median else None
        made["settings"]["binning"] = self.binning
        # In the words of version 0.1, so that results made then, without a word on evidence, keep
        # their hash.
        made["settings"]["looks"] = made["settings"].pop("augmentations")
        made["settings"]["smallest_px"] = self.smallest_px
        made["settings"]["min_significance"] = self.min_significance
        if not self.evidence.asks:
            del made["settings"]["min_significance"], made["settings"]["smallest_px"]
        made["circular"] = self.scan.circular
        return made
