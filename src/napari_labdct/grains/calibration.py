"""The geometry of a scan from its own spots: distances, detector centre, tilts, direction.

A few grains are found although the geometry is off (votes tolerate some pixels), then geometry,
orientations and centres are fitted together to the centres of spots, with ever closer matches.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from ..core.jobs import Progress
from ..core.parameters import Param, Settings
from ..core.stacks import FrameStack
from ..crystal import MATERIALS, Material
from ..crystal import material as find_material
from ..scan.scan import Scan
from .checks import DOUBTFUL, check_coverage, doubt, grain_inputs, highest_kev
from .geometry_fit import NAMES, UNITS, SpotTable, as_vector, with_vector
from .geometry_search import SETUPS, Attempt, Setup, same_planes
from .kernels import DISTANCE, Planes
from .spot_images import SpotImages, lattice_planes, spot_length_px

__all__ = ["Calibration", "CalibrationSettings", "GeometryCalibration"]

#: Parts of the progress bar, in thousandths: reading, looking which way round, fitting.
_READ, _LOOKED = 150, 550


@dataclass(frozen=True, kw_only=True)
class CalibrationSettings(Settings):
    """How the geometry is found; where to begin is what the scan says."""

    job: ClassVar[str] = "calibrate"

    distance_off_mm: Annotated[
        float,
        Param("Distances off by", "mm", 0.001, 100, 0.1, "How far off the two distances may be."),
    ] = 0.3
    center_off_px: Annotated[
        float,
        Param("Centre off by", "px", 0.1, 500, 1, "How far off the detector centre may be."),
    ] = 10.0
    tilt_off_deg: Annotated[
        float, Param("Tilts off by", "deg", 0.001, 20, 0.1, "How far off the tilts may be.")
    ] = 0.3
    direction: Annotated[
        str,
        Param(
            "Direction",
            choices=("try", "given"),
            help="Try both directions of rotation and mirrored frames, or take them as given.",
        ),
    ] = "try"
    try_materials: Annotated[
        bool, Param("Try materials", help="Try every known material instead of the scan's.")
    ] = False
    grains: Annotated[
        int, Param("Grains", "", 1, 500, 5, "Of which at most the geometry is fitted.")
    ] = 40
    reach_um: Annotated[
        float | None,
        Param(
            "Reach",
            "um",
            1,
            1e5,
            10,
            "How far from the axis grains are looked for; four grains' sizes if not given.",
        ),
    ] = None
    families: Annotated[
        int, Param("Reflection families", "", 1, 20, 1, "The first N allowed {hkl}.")
    ] = 4
    energy_min_kev: Annotated[
        float, Param("Lowest energy", "keV", 5, 150, 1, "Of photons that make spots.")
    ] = 15.0
    energy_max_kev: Annotated[
        float | None,
        Param(
            "Highest energy", "keV", 10, 500, 5, "As for a grain map, if not given.", advanced=True
        ),
    ] = None
    threads: Annotated[
        int | None,
        Param("Threads", "", 1, 256, 1, "All cores, 8 at most, if not given.", advanced=True),
    ] = None


@dataclass(frozen=True, eq=False)
class Calibration:
    """A geometry that was found.

    Attributes
    ----------
    scan : Scan
        With the geometry, angles and material that were found.
    given, found, sd : ndarray (7,)
        The numbers of `geometry_fit.NAMES` before and after, and standard deviations.
    setup : Setup
        Which way round the scan was.
    material : Material
    before_px, residual_px : float
        Median distance between predicted and seen spot centres with the given geometry (each grain
        where it fits best) and with the one found.
    completeness : float
        Share of the expected reflections that are seen within 1 px, of the best tenth of grains.
    grains, spots : int
        How many were fitted.
    untold : list of tuple of str
        Numbers that the spots leave open, or that they tell only together.
    material_changed : bool
        Another material than the scan's fits best.
    notes : tuple of str
        What the user should know, a sentence each.
    """

    scan: Scan
    given: np.ndarray
    found: np.ndarray
    sd: np.ndarray
    setup: Setup
    material: Material
    before_px: float
    residual_px: float
    completeness: float
    grains: int
    spots: int
    untold: list[tuple[str, ...]]
    material_changed: bool
    notes: tuple[str, ...]

    def report(self) -> str:
        """The numbers before and after, and what the data cannot tell, as text."""
        width = max(map(len, NAMES))
        lines = [f"{'':{width}}      given      found         +-"]
        for name, unit, old, new, sd in zip(
            NAMES, UNITS, self.given, self.found, self.sd, strict=True
        ):
            lines.append(f"{name:{width}} {old:10.4f} {new:10.4f} {sd:10.4f} {unit}")
        lines.append(
            f"Median distance of predicted and seen spots: {self.before_px:.2f} px before, "
            f"{self.residual_px:.2f} px now ({self.grains} grains, {self.spots} spots, "
            f"the best of which show {self.completeness:.0%} of their reflections)."
        )
        return "\n".join([*lines, *self.notes])

    def scan_yaml(self) -> dict[str, Any]:
        """What changes in ``scan.yaml``, for `io.scan_yaml.update_scan_yaml`."""
        d = self.scan.description
        changes: dict[str, Any] = {
            "source_sample_mm": round(d.source_sample_mm, 6),
            "sample_detector_mm": round(d.sample_detector_mm, 6),
            "detector_center_px": [round(v, 4) for v in d.detector_center_px],
            "detector_tilt_deg": [round(v, 5) for v in d.detector_tilt_deg],
        }
        if self.setup.turns_back:
            changes |= {"omega_deg": self.scan.omega_deg.tolist(), "omega_csv": None}
        if self.material_changed:
            changes["material"] = self.material.name
        return changes


class GeometryCalibration:
    """Finds the geometry of one scan from its binary spots.

    Parameters
    ----------
    scan : Scan
        With a geometry to begin with.
    spots : stack (n, rows, cols)
        Anything that is not 0 is a spot.
    settings : CalibrationSettings
    material : Material or str, optional
        The scan's if not given.

    Attributes
    ----------
    result : Calibration or None
        When `run` has come to its end.

    Raises
    ------
    ScanError
        Something is missing to begin with, or the spots do not fit the scan.
    """

    def __init__(
        self,
        scan: Scan,
        spots: FrameStack,
        settings: CalibrationSettings | None = None,
        material: Material | str | None = None,
    ) -> None:
        self.scan, self.settings = scan, settings or CalibrationSettings()
        named = material or scan.description.material
        if self.settings.try_materials and named is None:
            named = MATERIALS[0]
        self.material, self.geometry = grain_inputs(scan, named, "A calibration")
        self.threads = self.settings.threads or min(os.cpu_count() or 1, 8)
        radius = 0.05 * self.geometry.source_sample_mm
        self.images = SpotImages(
            spots, self.geometry, np.asarray(scan.omega_deg), radius, scan.hidden()
        )
        self.spots = SpotTable(scan.n_frames)
        s = self.settings
        self.prior = np.array(
            [s.distance_off_mm] * 2 + [s.center_off_px] * 2 + [s.tilt_off_deg] * 3
        )
        self.result: Calibration | None = None

    def run(self) -> Iterator[Progress]:
        """Find the geometry; closing the generator cancels.

        Yields
        ------
        Progress
            In thousandths.

        Raises
        ------
        ScanError
            No grain stands out from chance with any way round (or material) that was tried.
        """
        for done in self._read():
            yield Progress(int(_READ * done), 1000, "reading the spots")
        tries = list(self._attempts())
        for k, attempt in enumerate(tries):
            for _ in attempt.look(self.threads):
                yield Progress(_READ + (_LOOKED - _READ) * k // len(tries), 1000, attempt.words)
            if attempt.clear and not self.settings.try_materials:
                break
        best = self._choose(tries)
        for done in best.fit(self.threads):
            at = _LOOKED + (1000 - _LOOKED) * done
            text = f"fitting, {best.residual_px:.2f} px off" if best.fitted else "fitting"
            yield Progress(int(at), 1000, text)
        self.result = self._finish(best)
        yield Progress(1000, 1000, f"{self.result.residual_px:.2f} px off")

    def _read(self) -> Iterator[float]:
        n = self.scan.n_frames
        for done in self.images.load():
            yield 0.5 * done / n
        check_coverage(self.images.coverage(0))
        for i in range(n):
            self.spots.add(i, (self.images.images[i] & DISTANCE) == 0, self.images.hidden)
            yield 0.5 + 0.5 * (i + 1) / n
        self.grain_um = (
            spot_length_px(self.images.images)
            * self.geometry.pixel_um
            / self.geometry.magnification
        )

    def _attempts(self) -> Iterator[Attempt]:
        setups = SETUPS if self.settings.direction == "try" else SETUPS[:1]
        names = [self.material]
        if self.settings.try_materials:
            names = [find_material(n) for n in MATERIALS]
        seen: list[tuple[Any, ...]] = []
        for crystal in names:
            if any(same_planes(crystal, m) for m in (s[0] for s in seen)):
                continue
            for setup in setups:
                geometry = setup.geometry(self.geometry)
                key = (setup.turns_back, *np.round(as_vector(geometry), 6))
                if any(s[0] is crystal and s[1] == key for s in seen):
                    continue
                seen.append((crystal, key))
                yield Attempt(self, setup, crystal)

    def planes_of(self, crystal: Material) -> Planes:
        """Lattice planes that are looked for."""
        s = self.settings
        highest = s.energy_max_kev or highest_kev(self.scan)
        return lattice_planes(crystal, s.families, (s.energy_min_kev, highest))[0]

    def _choose(self, tries: list[Attempt]) -> Attempt:
        """The attempt that explains most; of those that spots cannot tell apart the likeliest."""
        best = max(tries, key=lambda a: a.strength)
        if best.count == 0:
            raise max(tries, key=lambda a: a.top).nothing()
        return next(
            a
            for a in tries
            if a.material is best.material
            and a.setup.turns_back == best.setup.turns_back
            and a.strength >= 0.3 * best.strength
        )

    def _finish(self, best: Attempt) -> Calibration:
        fit = best.fit_found
        vector = np.round(fit.vector, 6)
        geometry = with_vector(best.geometry, vector)
        same = best.material is self.material
        description = self.scan.description.replace(
            source_sample_mm=geometry.source_sample_mm,
            sample_detector_mm=geometry.sample_detector_mm,
            detector_center_px=geometry.detector_center_px,
            detector_tilt_deg=geometry.detector_tilt_deg,
            material=self.scan.description.material if same else best.material.name,
        )
        spots = sum(len(g.spots) for g in fit.grains)
        return Calibration(
            self.scan.replace(omega_deg=best.omega_deg, description=description), best.given,
            vector, fit.sd, best.setup, best.material, best.before_px, fit.residual_px,
            best.completeness(), len(fit.grains), spots, fit.untold(), not same,
            tuple(self._notes(best)),
        )  # fmt: skip

    def _notes(self, best: Attempt) -> Iterator[str]:
        """What the user should know, a sentence each."""
        if best.setup != SETUPS[0]:
            yield (
                f"The spots fit with the {best.setup.words}. Frames mirrored left to right and a "
                "reversed rotation give the same spots, and maps that are mirror images: if you "
                "know that the frames are mirrored, mirror them instead of taking these angles."
            )
        for names in best.fit_found.untold():
            if len(names) == 1:
                yield f"The spots do not tell the {names[0]}; it stays near the given value."
            else:
                yield (
                    f"The spots do not tell the {', the '.join(names[:-1])} and the {names[-1]} "
                    "apart: what is known of each is mostly what was given."
                )
        far = np.abs(best.fit_found.vector - best.given) > 3 * self.prior
        if far.any():
            moved = ", ".join(NAMES[k] for k in np.flatnonzero(far))
            yield (
                f"The {moved} moved more than three times as far as allowed for; check the "
                "material and the pixel size."
            )
        seen = best.completeness()
        if seen < DOUBTFUL:
            yield doubt(seen, best.material.name)
        if self.settings.try_materials:
            alike = [
                m
                for m in MATERIALS
                if m != best.material.name and same_planes(find_material(m), best.material)
            ]
            text = f"The material that fits best is {best.material.name}"
            if alike:
                text += f"; {' and '.join(alike)} have the same directions of planes"
            yield text + "."
