"""The X-ray source and the detector's scintillator: tungsten spectra, filters, flux, CsI response.

The shipped table holds spectra made with spekpy (`scripts/make_spectra.py`): tungsten anode, 15
degrees, behind 0.5 mm Be and 220 mm air, absolute fluence at 1 m. It is interpolated linearly over
tube voltage. Other filters attenuate it with xraydb's coefficients.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np

from ..core.errors import SettingsError
from ..crystal import HC_KEV_ANGSTROM, mass_attenuation

__all__ = [
    "Beam",
    "FANG_FLUX_PER_S_MM2",
    "FILTER_DENSITY_G_CM3",
    "csi_response",
    "csi_swank",
    "tube_flux",
    "tungsten_spectrum",
]

FILTER_DENSITY_G_CM3 = {"Al": 2.699, "Cu": 8.96, "Sn": 7.31, "Be": 1.848, "Si": 2.33, "Fe": 7.874}
"""Filter materials and their densities."""

FANG_FLUX_PER_S_MM2 = 5e8
"""Total flux of the `fang2020` intensity model, whatever the distance (reproduces Table 1)."""


@lru_cache(maxsize=1)
def _table() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Energies (n,), tube voltages (m,) and fluence (n, m) of the shipped table."""
    source = resources.files(__package__).joinpath("data/tungsten_spectra.csv")
    with source.open(encoding="utf-8") as file:
        lines = file.read().splitlines()
    tubes = np.array([float(v) for v in lines[2].split(",")[1:]])
    values = np.array([[float(v) for v in line.split(",")] for line in lines[3:]])
    return values[:, 0], tubes, values[:, 1:]


def tungsten_spectrum(
    energy_kev: np.ndarray, tube_kv: float, filters_mm: Mapping[str, float] | None = None
) -> np.ndarray:
    """Fluence of a tungsten tube: photons / (keV mm^2 mAs) at 1 m from the focus.

    Parameters
    ----------
    energy_kev : ndarray (n,)
        Photon energies; the table has bins of 0.5 keV, so the K lines have that width.
    tube_kv : float
        Tube voltage, 30 to 180 kV.
    filters_mm : mapping, optional
        Thickness of each filter, for example ``{"Al": 2.0}``.

    Raises
    ------
    SettingsError
        The voltage is outside the table, or a filter material is unknown.
    """
    energy_kev = np.asarray(energy_kev, float)
    table_energy, tubes, fluence = _table()
    if not tubes[0] <= tube_kv <= tubes[-1]:
        raise SettingsError(
            f"Spectra are known from {tubes[0]:g} to {tubes[-1]:g} kV, not at {tube_kv:g} kV."
        )
    upper = int(np.clip(np.searchsorted(tubes, tube_kv), 1, len(tubes) - 1))
    weight = (tube_kv - tubes[upper - 1]) / (tubes[upper] - tubes[upper - 1])
    spectrum = (1 - weight) * fluence[:, upper - 1] + weight * fluence[:, upper]
    result = np.interp(energy_kev, table_energy, spectrum, left=0.0, right=0.0)
    for element, thickness_mm in (filters_mm or {}).items():
        if element not in FILTER_DENSITY_G_CM3:
            known = ", ".join(FILTER_DENSITY_G_CM3)
            raise SettingsError(f"The filter '{element}' is not known; use {known}.")
        if thickness_mm < 0:
            raise SettingsError(f"The {element} filter cannot be {thickness_mm:g} mm thick.")
        mu = mass_attenuation({element: 1.0}, energy_kev) * FILTER_DENSITY_G_CM3[element]
        result = result * np.exp(-mu * thickness_mm / 10)
    return np.where(energy_kev <= tube_kv, result, 0.0)


def tube_flux(
    energy_kev: np.ndarray,
    tube_kv: float,
    power_w: float,
    distance_mm: float,
    filters_mm: Mapping[str, float] | None = None,
) -> np.ndarray:
    """Flux photons / (s mm^2 keV) at `distance_mm` from a tube of electrical power `power_w`.

    The fluence falls with the distance squared; the tube current is power / voltage.
    """
    current_ma = power_w / tube_kv
    return (
        tungsten_spectrum(energy_kev, tube_kv, filters_mm)
        * current_ma
        * (1000.0 / distance_mm) ** 2
    )


def csi_swank(energy_kev: np.ndarray) -> np.ndarray:
    """Swank factor of CsI(Tl), a closed form within 0.005 of Hajdok et al. (2008).

    1 below the iodine K edge (33.2 keV), falling linearly to 0.823 at 36.6 keV, then
    0.9941 - 0.1715 exp(-(E - 36.6) / 11.19).
    """
    energy = np.asarray(energy_kev, float)
    rising = 0.9941 - 0.1715 * np.exp(-(np.maximum(energy, 36.6) - 36.6) / 11.19)
    falling = 1 + (0.823 - 1) * (energy - 33.2) / (36.6 - 33.2)
    return np.where(energy < 33.2, 1.0, np.where(energy < 36.6, falling, rising))


def csi_response(energy_kev: np.ndarray, thickness_um: float = 150.0) -> np.ndarray:
    """Detective quantum efficiency of a CsI scintillator (4.51 g/cm^3).

    DQE = (1 - exp(-mu t)) Swank(E), mu without coherent scattering (which deposits nothing).
    """
    masses = {"Cs": 132.90545, "I": 126.90447}
    mu = mass_attenuation(masses, energy_kev, ("photo", "incoh")) * 4.51
    return (1 - np.exp(-mu * thickness_um * 1e-4)) * csi_swank(energy_kev)


@dataclass(frozen=True, eq=False)
class Beam:
    """Everything about an exposure that depends on the photon energy alone.

    Make one with `Beam.laue` or `Beam.fang2020`.

    Attributes
    ----------
    model : str
        ``"laue"`` or ``"fang2020"``.
    energy_kev : ndarray (n,)
        Evenly spaced energies; nothing outside them reflects.
    table : ndarray (n,)
        Grey levels per unit of the other factors of a spot (see `projector`): spectrum, detector
        response, exposure and gain, and the powers of the wavelength the model asks for.
    gain : float
        Grey levels per detected photon.
    flux_per_s_mm2 : float
        Total flux at the sample within `energy_kev`.
    """

    model: str
    energy_kev: np.ndarray
    table: np.ndarray
    gain: float
    flux_per_s_mm2: float

    @classmethod
    def laue(
        cls,
        *,
        tube_kv: float,
        power_w: float,
        distance_mm: float,
        exposure_s: float,
        filters_mm: Mapping[str, float] | None = None,
        csi_um: float = 150.0,
        gain: float = 1.0,
        energy_min_kev: float = 13.0,
        energy_max_kev: float | None = None,
    ) -> Beam:
        """White-beam (Laue) diffraction of a tube of known power: kinematic and absolute.

        The number of photons reflected by a volume V of an ideally imperfect crystal is

        ``r0^2 V / Vcell^2 |F|^2 P i(lambda) lambda^4 / (2 sin^2 theta) t``

        which, with i(lambda) = i(E) E^2 / hc and lambda = 2 d sin theta, is
        ``r0^2 V / Vcell^2 |F|^2 P 2 d^2 hc i(E) t``; i(E) comes from `tube_flux`.
        """
        energy = _grid(energy_min_kev, energy_max_kev or tube_kv)
        flux = tube_flux(energy, tube_kv, power_w, distance_mm, filters_mm)
        table = flux * HC_KEV_ANGSTROM * csi_response(energy, csi_um) * exposure_s * gain
        return cls("laue", energy, table, gain, float(flux.sum() * (energy[1] - energy[0])))

    @classmethod
    def fang2020(
        cls,
        *,
        tube_kv: float = 140.0,
        exposure_s: float = 600.0,
        filters_mm: Mapping[str, float] | None = None,
        csi_um: float = 150.0,
        energy_min_kev: float = 13.0,
        energy_max_kev: float = 138.0,
        flux_per_s_mm2: float = FANG_FLUX_PER_S_MM2,
    ) -> Beam:
        """The intensities of Fang et al. (2020, 2021), for samples that reproduce their table 1.

        ``r0^2 lambda^3 V / Vcell^2 |F|^2 P Phi(E) t / sin(2 theta)`` with Phi the photons in one of
        49 energy bins of a spectrum of fixed total flux, Phi and lambda^3 taken at the lower edge
        of the bin, U = 0.01 / 4 angstrom^2 for every atom, and 27.33 grey levels per photon. It
        weights low energies too much and is about 100 times too weak; use `laue` for physics.
        """
        energy = _grid(energy_min_kev, energy_max_kev)
        filters = {"Al": 2.0} if filters_mm is None else filters_mm
        edges, width = np.linspace(energy_min_kev, energy_max_kev, 50, retstep=True)
        shape = tungsten_spectrum(edges, tube_kv, filters)
        per_bin = shape / shape.sum() * flux_per_s_mm2
        lower = np.minimum((energy - energy_min_kev) / width + 1e-9, 49).astype(int)
        gain = 27.33
        step = (per_bin * (HC_KEV_ANGSTROM / edges) ** 3)[lower]
        table = step * csi_response(energy, csi_um) * exposure_s * gain
        return cls("fang2020", energy, table, gain, flux_per_s_mm2)


def _grid(low_kev: float, high_kev: float) -> np.ndarray:
    if not 0 < low_kev < high_kev:
        raise SettingsError(
            f"The energy window {low_kev:g} to {high_kev:g} keV is empty; widen it "
            "or raise the tube voltage."
        )
    return np.linspace(low_kev, high_kev, max(2, round((high_kev - low_kev) / 0.25) + 1))
