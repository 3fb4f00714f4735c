"""What is refused before the work begins: facts that are missing, masks that say nothing."""

from __future__ import annotations

import numpy as np

from ..core.errors import ScanError
from ..crystal import Material
from ..crystal import material as find_material
from ..scan.geometry import ScanGeometry
from ..scan.scan import Scan

__all__ = ["DOUBTFUL", "FULL", "check_coverage", "doubt", "grain_inputs", "missing_for_grains"]

#: Grains of the right material and geometry show more of their reflections than this, the large
#: ones at least.
DOUBTFUL = 0.6

#: Fewer different views than this do not tell crystals from chance.
LEAST_VIEWS = 12
#: Spots that cover more of the detector than this are no spots.
FULL = 0.4

_WORDS = {
    "omega_deg": "rotation angles",
    "pixel_um": "pixel size",
    "source_sample_mm": "source-sample distance",
    "sample_detector_mm": "sample-detector distance",
    "tube_kv": "tube voltage",
}


def missing_for_grains(scan: Scan) -> list[str]:
    """What a grain map still needs to know of a scan, in words; the material can be given apart."""
    return [_WORDS[name] for name in scan.missing_for("predicted spots") if name in _WORDS]


def highest_kev(scan: Scan) -> float:
    """Highest photon energy that reflections are looked for with: the tube's, 100 keV at most."""
    kv = scan.description.tube_kv
    return 100.0 if kv is None else min(float(kv), 100.0)


def grain_inputs(
    scan: Scan, material: Material | str | None, job: str
) -> tuple[Material, ScanGeometry]:
    """Material and geometry of a scan whose grains are asked for.

    Parameters
    ----------
    scan : Scan
    material : Material or str, optional
        The scan's if not given.
    job : str
        What needs them, to begin a sentence with.

    Raises
    ------
    ScanError
        Something is missing, or there are too few projections.
    """
    missing = missing_for_grains(scan)
    if missing:
        raise ScanError(
            f"{job} needs the {', '.join(missing)} of '{scan.name}'; enter "
            f"{'it' if len(missing) == 1 else 'them'} in scan.yaml or in the Scan dock."
        )
    if material is None:
        material = scan.description.material
    if material is None:
        raise ScanError(
            f"{job} needs the material of '{scan.name}'; give --material, or enter it in scan.yaml."
        )
    views = len(np.unique(np.round(np.mod(np.asarray(scan.omega_deg), 360), 3)))
    if views < LEAST_VIEWS:
        raise ScanError(
            f"{job} needs {LEAST_VIEWS} projections at different angles at least; "
            f"'{scan.name}' has {views}."
        )
    crystal = find_material(material) if isinstance(material, str) else material
    return crystal, scan.geometry()


def check_coverage(share: float) -> None:
    """Refuse masks of which nothing or nearly everything is spot.

    Raises
    ------
    ScanError
    """
    if share > FULL:
        raise ScanError(
            f"{share:.0%} of the pixels of the binary stack are spots: it is no mask of "
            "diffraction spots, or it is inverted; check how it was made."
        )
    if share == 0:
        raise ScanError("The binary stack holds no spot; check how it was made.")


def doubt(completeness: float, material: str) -> str:
    """What to say when even the best grains show few of their reflections."""
    return (
        f"Even the best grains show only {completeness:.0%} of their reflections: is it "
        f"{material}? 'labdct calibrate --try-materials' tries the known materials and both "
        "directions of rotation."
    )
