"""What can be chosen about simulated spots over a background; importing it loads no numba."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from ...core.errors import SettingsError
from ...core.parameters import Param, Settings
from ...simulation.sample import PRESETS


@dataclass(frozen=True, kw_only=True)
class MixSettings(Settings):
    """How simulated spots and a background become a frame (eqs 1 and 2)."""

    job: ClassVar[str] = "mixing"

    output: Annotated[
        str,
        Param(
            "Output",
            choices=("16-bit", "8-bit"),
            help="16-bit: level, drift, noise, hot pixels and cosmic rays as measured; "
            "8-bit: as the paper, with its grey level I0 and its noise level tau.",
        ),
    ] = "16-bit"
    i0: Annotated[
        float | None,
        Param(
            "Background level I0",
            "grey",
            1,
            60000,
            1,
            "Grey level of the brightest background; R_BG is drawn from I0 - sqrt(I0) to "
            "I0 + sqrt(I0). If not given: 110 in 8 bit, as measured in 16 bit.",
        ),
    ] = None
    tau: Annotated[
        float | None,
        Param(
            "Noise level tau",
            "",
            0,
            20,
            0.1,
            "Of the paper's eq. 2, x = x0 + tau Poisson(x0 / 2): a grey level of x0 gets noise of "
            "variance tau^2 x0 / 2. If not given: 1 in 8 bit, as measured in 16 bit.",
        ),
    ] = None
    snr_min: Annotated[
        float | None,
        Param(
            "Lowest typical SNR",
            "",
            0.01,
            1000,
            0.1,
            "Spots are made brighter or weaker so that the median SNR of a frame's spots lies "
            "between these two; if not given, they stay as bright as simulated.",
            advanced=True,
        ),
    ] = None
    snr_max: Annotated[
        float | None,
        Param("Highest typical SNR", "", 0.01, 1000, 0.1, "See the lowest one.", advanced=True),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.snr_min is None) != (self.snr_max is None):
            raise SettingsError("Give both the lowest and the highest typical SNR, or neither.")
        if self.snr_min is not None and self.snr_min > self.snr_max:
            raise SettingsError("The lowest typical SNR is above the highest; swap them.")


@dataclass(frozen=True, kw_only=True)
class TrainingSetSettings(MixSettings):
    """A training set; the defaults are the paper's."""

    job: ClassVar[str] = "training set"

    output: Annotated[
        str,
        Param(
            "Output",
            choices=("8-bit", "16-bit"),
            help="8-bit: as the paper, with its grey level I0 and its noise level tau; 16-bit: "
            "level, drift, noise, hot pixels and cosmic rays as measured with the background.",
        ),
    ] = "8-bit"
    pairs: Annotated[int, Param("Pairs", "", 1, 1000000, 1, "Frames with their truth.")] = 1086
    samples: Annotated[
        str,
        Param("Samples", help=f"Simulated samples with commas between: {', '.join(PRESETS)}."),
    ] = "D18,D35,D64"
    validation_percent: Annotated[
        float,
        Param("Validation", "%", 0, 90, 1, "Part of the pairs kept for validation.", advanced=True),
    ] = 15.0
    resize_px: Annotated[
        int | None,
        Param("Resize to", "px", 16, 8192, 1, "Longer side; the paper trained at 600."),
    ] = None
    truth: Annotated[
        str,
        Param(
            "Truth",
            choices=("spots", "log"),
            help="spots: each spot cut by itself; log: the paper's Laplacian of Gaussian.",
        ),
    ] = "spots"
    median_window: Annotated[
        int | None,
        Param(
            "Rolling median",
            "projections",
            3,
            361,
            2,
            "If given, the median of so many frames is modelled and written too.",
            advanced=True,
        ),
    ] = None
    binning: Annotated[
        int, Param("Binning", "px", 1, 16, 1, "Of the simulated frames.", advanced=True)
    ] = 1
    seed: Annotated[
        int, Param("Seed", "", 0, 2**31 - 1, 1, "Same seed, same pairs.", advanced=True)
    ] = 1
