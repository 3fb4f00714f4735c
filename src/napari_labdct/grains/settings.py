"""The parameter object of a grain map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from ..core.parameters import Param, Settings

__all__ = ["GrainSettings"]


@dataclass(frozen=True, kw_only=True)
class GrainSettings(Settings):
    """How a grain map is made; the geometry, the tube voltage and the material are the scan's."""

    job: ClassVar[str] = "grains"

    mask: Annotated[
        str | None,
        Param(
            "Sample mask",
            help="Where the sample is: a GrainMapper3D file (its AbsorptionCT or Mask), or a TIFF "
            "volume (z, y, x) with --mask-voxel-um.",
        ),
    ] = None
    mask_voxel_um: Annotated[
        float | None, Param("Mask voxel", "um", 0.05, 1e3, 0.5, "Edge of a voxel of a TIFF mask.")
    ] = None
    sample: Annotated[
        str,
        Param(
            "Sample",
            choices=("spots", "cylinder", "box"),
            help="Without a mask: found from the spots, or a cylinder or box about the axis.",
        ),
    ] = "spots"
    diameter_um: Annotated[
        float | None, Param("Diameter or width", "um", 1, 1e5, 10, "Of the cylinder or the box.")
    ] = None
    height_um: Annotated[
        float | None, Param("Height", "um", 1, 1e5, 10, "Along the rotation axis.")
    ] = None
    voxel_um: Annotated[
        float | None,
        Param(
            "Voxel",
            "um",
            0.1,
            1e3,
            0.5,
            "Edge of a voxel of the map; one pixel over the magnification, to half a micrometre, "
            "if not given.",
        ),
    ] = None
    grain_um: Annotated[
        float | None,
        Param(
            "Typical grain size",
            "um",
            1,
            1e4,
            5,
            "Sets how close the seeds lie; measured on the spots if not given.",
        ),
    ] = None
    effort: Annotated[
        str,
        Param(
            "Effort",
            choices=("quick", "normal", "thorough"),
            help="How long to look for the smallest grains.",
        ),
    ] = "normal"
    result: Annotated[
        str,
        Param(
            "Result",
            choices=("auto", "volume", "points"),
            help="A volume, or only a list of grains where grains are not much larger than a pixel "
            "(far field); auto: points if a pixel is more than 12 um of the sample.",
        ),
    ] = "auto"
    confidence: Annotated[
        float,
        Param("Confidence", "", 0.5, 0.9999, 0.01, "Least probability that a grain is real."),
    ] = 0.99
    run_together_deg: Annotated[
        float,
        Param(
            "Running orientation",
            "deg",
            0.0,
            5.0,
            0.1,
            "Touching parts whose orientations differ by less are one grain; its orientation "
            "field and spread are kept.",
        ),
    ] = 1.5
    families: Annotated[
        int, Param("Reflection families", "", 1, 20, 1, "The first N allowed {hkl}.")
    ] = 4
    energy_min_kev: Annotated[
        float, Param("Lowest energy", "keV", 5, 150, 1, "Of photons that make spots.")
    ] = 15.0
    energy_max_kev: Annotated[
        float | None,
        Param(
            "Highest energy",
            "keV",
            10,
            500,
            5,
            "The tube voltage, but 100 at most, if not given: spots above are too weak to be seen.",
            advanced=True,
        ),
    ] = None
    threads: Annotated[
        int | None,
        Param("Threads", "", 1, 256, 1, "All cores, 8 at most, if not given.", advanced=True),
    ] = None
