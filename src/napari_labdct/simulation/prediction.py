"""Measured grain maps: a virtual scan with the map's own geometry, and its spots on a real scan."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np

from ..core.errors import ScanError, SettingsError
from ..core.parameters import Param, Settings, arguments_of
from ..io.grain_map_files import read_grain_map
from ..scan.scan import Scan
from .projector import PREDICTED_DTYPE, predict_spots, refuse_the_invisible
from .sample import PRESETS
from .settings import SimulateSettings

__all__ = [
    "PREDICTION_DTYPE",
    "PredictSettings",
    "Prediction",
    "command_line",
    "missing_for_prediction",
    "settings_for",
    "settings_of_map",
]

PREDICTION_DTYPE = np.dtype(
    [
        ("frame", "i4"),
        ("omega_deg", "f4"),
        *((n, PREDICTED_DTYPE[n]) for n in PREDICTED_DTYPE.names),
    ]
)

_TOLD_BY_MAP = (
    "sample", "material", "source_sample_mm", "sample_detector_mm", "tube_kv", "frames",
    "start_deg", "step_deg",
)  # fmt: skip

_WORDS = {
    "omega_deg": "rotation angles",
    "pixel_um": "pixel size",
    "source_sample_mm": "source-sample distance",
    "sample_detector_mm": "sample-detector distance",
    "tube_kv": "tube voltage",
}


def settings_of_map(path: str | Path, **changes: Any) -> SimulateSettings:
    """Settings that simulate a grain map in the geometry its file gives.

    The file knows the distances, the tube voltage, the number of projections and the phase;
    the detector is the default one.

    Parameters
    ----------
    path : path
        A grain map of any format that is known.
    **changes
        Settings that differ from the file.

    Raises
    ------
    ScanError
        The file is not a grain map.
    SettingsError
        What the file says of the scan lies outside what can be simulated.
    """
    measured = read_grain_map(path, material=changes.get("material"))
    if len(measured.phases) > 1:
        names = ", ".join(phase.name for phase in measured.phases)
        raise SettingsError(
            f"{Path(path).name} has grains of {len(measured.phases)} phases ({names}), and a "
            "simulated scan is of one; export a map of one phase, or predict its spots on a scan."
        )
    values: dict[str, Any] = {"material": measured.material.name}
    for name in ("source_sample_mm", "sample_detector_mm", "tube_kv"):
        if getattr(measured, name):
            values[name] = round(float(getattr(measured, name)), 4)
    omega = measured.omega_deg
    if omega is not None and len(omega) > 1:
        values |= {
            "frames": len(omega),
            "start_deg": float(omega[0]),
            "step_deg": float(omega[1] - omega[0]),
        }
    return SimulateSettings(
        **(values | changes | {"sample": "grain map", "grain_map": str(Path(path))})
    )


def settings_for(given: dict[str, Any]) -> SimulateSettings:
    """Settings from the few values that were given; the rest follows from the sample.

    A grain map brings its own geometry, and the presets of the paper bring their intensity
    model and threshold (see `SimulateSettings.preset`).

    Parameters
    ----------
    given : dict
        Names and values of settings.
    """
    sample = given.get("sample")
    if given.get("grain_map") and sample in (None, "grain map"):
        rest = {k: v for k, v in given.items() if k not in ("sample", "grain_map")}
        return settings_of_map(given["grain_map"], **rest)
    if sample in PRESETS:
        return SimulateSettings.preset(sample, **{k: v for k, v in given.items() if k != "sample"})
    return SimulateSettings(**given)


def command_line(settings: SimulateSettings, folder: str | Path) -> str:
    """The ``labdct simulate`` command that makes the same scan.

    Parameters
    ----------
    settings : SimulateSettings
    folder : path
        Where the scan goes.
    """
    start: dict[str, Any] = {"sample": settings.sample}
    if settings.sample == "grain map":
        start["grain_map"] = settings.grain_map
    usual = SimulateSettings() if settings.sample == "grain map" else settings_for(start)
    # A preset is named; what a map's file says is not looked up, so it is spelt out.
    told = ("sample",) if settings.sample in PRESETS else ()
    told = _TOLD_BY_MAP if settings.sample == "grain map" else told
    words = ["labdct", "simulate", "-o", str(folder), *arguments_of(settings, usual, told)]
    return shlex.join(words)


@dataclass(frozen=True, kw_only=True)
class PredictSettings(Settings):
    """Which spots to predict on a scan."""

    job: ClassVar[str] = "predict"

    grain_map: Annotated[
        str | None, Param("Grain map", help="Grain map (.h5, .dream3d, .tesr, .map).")
    ] = None
    material: Annotated[
        str | None,
        Param(
            "Material",
            help="Element or CIF file instead of what the map says, one a phase by commas.",
            advanced=True,
        ),
    ] = None
    families: Annotated[
        int, Param("Reflection families", "", 1, 20, 1, "The first N allowed {hkl}.")
    ] = 4
    energy_min_kev: Annotated[
        float, Param("Lowest energy", "keV", 5, 150, 1, "The highest is the tube voltage.")
    ] = 13.0
    y_flip: Annotated[
        bool,
        Param("Mirror the grains in y", help="For maps of the other handedness.", advanced=True),
    ] = False


def missing_for_prediction(scan: Scan) -> list[str]:
    """What the geometry of a scan lacks, in words; the material comes with the grain map."""
    return [_WORDS[name] for name in scan.missing_for("predicted spots") if name in _WORDS]


class Prediction:
    """The grains of a map in the geometry of a scan.

    Parameters
    ----------
    scan : Scan
        With complete geometry.
    settings : PredictSettings

    Attributes
    ----------
    grains : GrainMap
    material : Material
        The map's first phase.
    phases : tuple of Material
        All phases of the map that have grains.

    Raises
    ------
    ScanError
        The geometry of the scan is incomplete, or the grain map cannot be read.
    SettingsError
        No reflection can be on the detector.
    """

    def __init__(self, scan: Scan, settings: PredictSettings) -> None:
        missing = missing_for_prediction(scan)
        if missing:
            raise ScanError(
                f"Predicted spots need the {_list(missing)} of '{scan.name}'; enter "
                f"{'it' if len(missing) == 1 else 'them'} in scan.yaml or in the Scan dock."
            )
        if not settings.grain_map:
            raise ScanError(
                "Predicted spots need a grain map; give a file (.h5, .dream3d, .tesr, .map)."
            )
        measured = read_grain_map(
            settings.grain_map, y_flip=settings.y_flip, material=settings.material
        )
        self.scan, self.settings = scan, settings
        self.grains, self.material = measured.grains, measured.material
        self.phases = measured.phases
        self.geometry = scan.geometry()
        self.energy_kev = (settings.energy_min_kev, float(scan.description.tube_kv))
        for crystal in self.phases:
            refuse_the_invisible(
                crystal, self.geometry, np.array(self.energy_kev), settings.families
            )

    def frame(self, index: int) -> np.ndarray:
        """Spots of projection `index`, one row a reflection.

        Returns
        -------
        ndarray of PREDICTION_DTYPE
            ``row`` and ``col`` are where the grain's centre of mass reflects to.
        """
        omega_deg = float(self.scan.omega_deg[index])
        found = np.concatenate(
            [self._of_phase(number, omega_deg) for number in range(len(self.phases))]
        )
        spots = np.zeros(len(found), PREDICTION_DTYPE)
        for name in PREDICTED_DTYPE.names:
            spots[name] = found[name]
        spots["frame"], spots["omega_deg"] = index, omega_deg
        return spots

    def _of_phase(self, number: int, omega_deg: float) -> np.ndarray:
        own = (self.grains.phases == number) & np.isfinite(self.grains.centroids_mm).all(axis=1)
        found = predict_spots(
            (self.grains.centroids_mm[own], self.grains.orientations[own]),
            self.phases[number],
            self.geometry,
            omega_deg,
            energy_kev=self.energy_kev,
            families=self.settings.families,
        )
        found["grain"] = self.grains.grain_ids[own][found["grain"] - 1]
        return found

    def run(self, frames: Sequence[int] | None = None) -> Iterator[np.ndarray]:
        """The tables of some projections, or of all, one after the other."""
        for index in range(self.scan.n_frames) if frames is None else frames:
            yield self.frame(index)


def _list(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
