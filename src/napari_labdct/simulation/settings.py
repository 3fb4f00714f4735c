"""The parameter object of a virtual scan, and what it says of geometry and beam."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

import numpy as np

from ..core.errors import SettingsError
from ..core.parameters import Param, Settings
from ..crystal import MATERIALS
from ..scan.geometry import ScanGeometry
from ..scan.scan import angles
from .sample import PRESETS
from .source import Beam

__all__ = ["SimulateSettings", "scan_beam", "scan_geometry"]

SAMPLES = (*PRESETS, "cylinder", "box", "grain map")


@dataclass(frozen=True, kw_only=True)
class SimulateSettings(Settings):
    """What to simulate; `SimulateSettings.preset` gives the scans of the paper's table 1."""

    job: ClassVar[str] = "simulate"

    sample: Annotated[
        str,
        Param(
            "Sample",
            choices=SAMPLES,
            help="D18, D35, D64: the aluminium cylinders of Fang et al. (2021).",
        ),
    ] = "cylinder"
    diameter_um: Annotated[
        float, Param("Diameter or width", "um", 1, 1e5, 10, "Of the cylinder or the box.")
    ] = 200.0
    height_um: Annotated[float, Param("Height", "um", 1, 1e5, 10, "Along the rotation axis.")] = (
        300.0
    )
    mean_grain_um: Annotated[
        float, Param("Mean grain size", "um", 0.5, 1e4, 1, "Diameter of the equal sphere.")
    ] = 35.0
    spread: Annotated[
        float,
        Param("Spread of sizes", "", 0.09, 0.55, 0.05, "Standard deviation over mean."),
    ] = 0.25
    top_grain_um: Annotated[
        float | None,
        Param(
            "Grain size at the top",
            "um",
            0.5,
            1e4,
            1,
            "If given, sizes change along z from the mean at the bottom to this.",
            advanced=True,
        ),
    ] = None
    grain_map: Annotated[
        str | None,
        Param("Grain map", help="Of any format (.h5, .dream3d, .tesr, .map), for this sample."),
    ] = None
    voxel_um: Annotated[
        float | None,
        Param(
            "Voxel",
            "um",
            0.05,
            1e3,
            0.5,
            "Of the virtual sample; 2 pixels / magnification if not given.",
            advanced=True,
        ),
    ] = None
    material: Annotated[
        str, Param("Material", help=f"{', '.join(MATERIALS)}, or the path of a CIF file.")
    ] = "Al"
    families: Annotated[
        int, Param("Reflection families", "", 1, 20, 1, "The first N allowed {hkl}.")
    ] = 4
    intensity_model: Annotated[
        str,
        Param(
            "Intensities",
            choices=("laue", "fang2020"),
            help="laue: physical; fang2020: as in the paper's simulator (table 1).",
        ),
    ] = "laue"
    tube_kv: Annotated[float, Param("Tube voltage", "kV", 30, 180, 5, "Tungsten anode.")] = 140.0
    power_w: Annotated[
        float, Param("Tube power", "W", 0.01, 1000, 1, "Sets the flux (laue only).")
    ] = 10.0
    filter_al_mm: Annotated[
        float, Param("Al filter", "mm", 0, 50, 0.5, "On top of 0.5 mm Be and 220 mm air.")
    ] = 2.0
    energy_min_kev: Annotated[
        float, Param("Lowest energy", "keV", 5, 150, 1, "Ignored below it.", advanced=True)
    ] = 13.0
    source_sample_mm: Annotated[
        float, Param("Source to sample", "mm", 0.1, 5000, 0.1, "X-ray source to axis.")
    ] = 11.0
    sample_detector_mm: Annotated[
        float, Param("Sample to detector", "mm", 0.1, 5000, 0.1, "Axis to detector.")
    ] = 11.0
    pixel_um: Annotated[float, Param("Pixel size", "um", 0.01, 1000, 0.01, "Before binning.")] = (
        3.3623
    )
    rows: Annotated[int, Param("Rows", "px", 8, 16384, 1, "Before binning.")] = 2032
    cols: Annotated[int, Param("Columns", "px", 8, 16384, 1, "Before binning.")] = 2032
    binning: Annotated[int, Param("Binning", "px", 1, 16, 1, "Pixels binned into one.")] = 1
    center_row_px: Annotated[
        float | None,
        Param("Centre row", "px", -1e5, 1e5, 1, "Of the optical axis, binned.", advanced=True),
    ] = None
    center_col_px: Annotated[
        float | None,
        Param("Centre column", "px", -1e5, 1e5, 1, "Of the optical axis, binned.", advanced=True),
    ] = None
    tilt_x_deg: Annotated[
        float, Param("Tilt about x", "deg", -80, 80, 0.1, "Detector roll.", advanced=True)
    ] = 0.0
    tilt_y_deg: Annotated[
        float, Param("Tilt about y", "deg", -80, 80, 0.1, "Detector pitch.", advanced=True)
    ] = 0.0
    tilt_z_deg: Annotated[
        float, Param("Tilt about z", "deg", -80, 80, 0.1, "Detector yaw.", advanced=True)
    ] = 0.0
    beam_stop_width_mm: Annotated[
        float, Param("Beam stop width", "mm", 0, 1000, 0.1, "Its shadow on the detector.")
    ] = 3.23
    beam_stop_height_mm: Annotated[
        float, Param("Beam stop height", "mm", 0, 1000, 0.1, "Its shadow on the detector.")
    ] = 3.20
    frames: Annotated[int, Param("Projections", "", 1, 100000, 1, "Number of projections.")] = 181
    start_deg: Annotated[
        float, Param("First angle", "deg", -3600, 3600, 1, "Of the rotation.")
    ] = -180.0
    step_deg: Annotated[
        float, Param("Angle step", "deg", -360, 360, 0.5, "Between projections.")
    ] = 2.0
    exposure_s: Annotated[float, Param("Exposure", "s", 0.001, 1e6, 10, "Of one projection.")] = (
        600.0
    )
    csi_um: Annotated[
        float, Param("CsI thickness", "um", 1, 5000, 10, "Scintillator.", advanced=True)
    ] = 150.0
    gain: Annotated[
        float,
        Param("Gain", "grey/photon", 1e-6, 1e6, 0.1, "Grey levels per detected photon (laue)."),
    ] = 1.0
    psf_px: Annotated[
        float, Param("Point spread", "px", 0, 20, 0.1, "Gaussian SD, binned pixels.")
    ] = 1.0
    source_um: Annotated[
        float,
        Param("Focal spot", "um", 0, 1000, 1, "FWHM; blurs by its image through the sample."),
    ] = 0.0
    noise: Annotated[
        bool, Param("Photon noise", help="Poisson counts (uint16) instead of expected values.")
    ] = False
    background: Annotated[
        float, Param("Background", "grey", 0, 60000, 10, "Even level under the spots.")
    ] = 0.0
    truth: Annotated[
        str,
        Param(
            "Truth",
            choices=("spots", "log"),
            help="spots: each spot cut by itself before they are summed; log: the paper's "
            "Laplacian of Gaussian.",
            advanced=True,
        ),
    ] = "spots"
    truth_min_grey: Annotated[
        float,
        Param("Truth level", "grey", 0, 60000, 0.5, "No mask below it.", advanced=True),
    ] = 1.0
    truth_fraction: Annotated[
        float,
        Param(
            "Truth fraction", "", 0.01, 0.9, 0.01, "Mask edge over the spot's peak.", advanced=True
        ),
    ] = 0.11
    seed: Annotated[
        int, Param("Seed", "", 0, 2**31 - 1, 1, "Same seed, same sample and noise.")
    ] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sample == "grain map" and not self.grain_map:
            raise SettingsError("The sample 'grain map' needs the path of a grain map (grain_map).")

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """Settings that reproduce one row of the paper's table 1: ``D18``, ``D35`` or ``D64``."""
        if name not in PRESETS:
            raise SettingsError(f"'{name}' is not a preset; choose {', '.join(PRESETS)}.")
        values = {
            "sample": name,
            "intensity_model": "fang2020",
            "truth_min_grey": PRESETS[name].grey_threshold,
        }
        return cls(**(values | changes))

    @property
    def omega_deg(self) -> np.ndarray:
        """Rotation angle (frames,) of each projection."""
        return angles(self.start_deg, self.step_deg, self.frames)


def scan_geometry(settings: SimulateSettings) -> ScanGeometry:
    """The geometry of a virtual scan, in binned pixels."""
    s = settings
    shape = (s.rows // s.binning, s.cols // s.binning)
    pixel_um = s.pixel_um * s.binning
    row = (shape[0] - 1) / 2 if s.center_row_px is None else s.center_row_px
    col = (shape[1] - 1) / 2 if s.center_col_px is None else s.center_col_px
    stop = ()
    if s.beam_stop_width_mm > 0 and s.beam_stop_height_mm > 0:
        half_row = s.beam_stop_height_mm / pixel_um * 500
        half_col = s.beam_stop_width_mm / pixel_um * 500
        top, bottom, left, right = row - half_row, row + half_row, col - half_col, col + half_col
        stop = (((top, left), (top, right), (bottom, right), (bottom, left)),)
    return ScanGeometry(
        source_sample_mm=s.source_sample_mm,
        sample_detector_mm=s.sample_detector_mm,
        pixel_um=pixel_um,
        shape=shape,
        detector_center_px=(row, col),
        detector_tilt_deg=(s.tilt_x_deg, s.tilt_y_deg, s.tilt_z_deg),
        beam_stop_px=stop,
    )


def scan_beam(settings: SimulateSettings) -> Beam:
    """The beam of a virtual scan."""
    s = settings
    filters = {"Al": s.filter_al_mm}
    if s.intensity_model == "fang2020":
        return Beam.fang2020(
            tube_kv=s.tube_kv,
            exposure_s=s.exposure_s,
            filters_mm=filters,
            csi_um=s.csi_um,
            energy_min_kev=s.energy_min_kev,
            energy_max_kev=min(138.0, s.tube_kv),
        )
    return Beam.laue(
        tube_kv=s.tube_kv,
        power_w=s.power_w,
        distance_mm=s.source_sample_mm,
        exposure_s=s.exposure_s,
        filters_mm=filters,
        csi_um=s.csi_um,
        gain=s.gain,
        energy_min_kev=s.energy_min_kev,
    )
