"""A whole virtual scan: one settings object, a preview, and a job that can be resumed."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

from .._version import __version__
from ..core.errors import OutputError, SettingsError
from ..core.files import cannot_write
from ..core.frame_store import FrameStore, spare_inputs
from ..core.jobs import Progress
from ..crystal import GrainMap, Material, material
from ..io.grain_map_files import read_grain_map
from ..io.grainmapper_writer import write_grainmapper
from ..io.scan_yaml import write_scan_yaml
from ..io.spot_csv import write_spot_csv
from ..scan.description import ScanDescription
from ..scan.scan import Scan
from ..spots.log_routine import RoutineSettings, log_segment
from .projector import SIMULATED_DTYPE, Projection, Projector
from .sample import PRESETS, box_mask, cylinder_mask, make_sample, preset_sample
from .settings import SimulateSettings, scan_beam, scan_geometry

__all__ = [
    "SimulateSettings",
    "Simulation",
    "SimulationOutput",
    "preview_frame",
    "simulate_scan",
]


class Simulation:
    """A sample in a beam, ready to be projected.

    Parameters
    ----------
    settings : SimulateSettings
    threads : int, optional
        For projecting; all cores, 8 at most, if None.
    grains : GrainMap, optional
        The sample of these settings, if the caller has made it already.

    Attributes
    ----------
    settings : SimulateSettings
    grains : GrainMap
    material : Material
    geometry : ScanGeometry
    beam : Beam
        ``beam.flux_per_s_mm2`` is the flux at the sample.
    projector : Projector

    Raises
    ------
    SettingsError, ScanError
        The settings contradict each other, or the grain map cannot be read.
    """

    def __init__(
        self,
        settings: SimulateSettings,
        threads: int | None = None,
        grains: GrainMap | None = None,
    ) -> None:
        self.settings = settings
        self.geometry = scan_geometry(settings)
        self.material: Material = material(settings.material)
        self.grains = self._sample() if grains is None else grains
        self.beam = scan_beam(settings)
        blur = settings.source_um / 2.3548 * (self.geometry.magnification - 1)
        psf_px = float(np.hypot(settings.psf_px, blur / self.geometry.pixel_um))
        self.projector = Projector(
            self.grains,
            self.material,
            self.geometry,
            self.beam,
            families=settings.families,
            psf_px=psf_px,
            truth_min_grey=settings.truth_min_grey,
            truth_fraction=settings.truth_fraction,
            threads=threads,
        )

    def _sample(self) -> GrainMap:
        s = self.settings
        if s.sample in PRESETS:
            return preset_sample(s.sample, seed=s.seed, voxel_um=s.voxel_um)
        if s.sample == "grain map":
            measured = read_grain_map(s.grain_map, material=self.material)
            self.material = measured.material
            return measured.grains
        voxel_um = s.voxel_um
        if voxel_um is None:
            pixels = 2 * self.geometry.pixel_um / self.geometry.magnification
            voxel_um = min(pixels, s.mean_grain_um / 6)
        if s.sample == "cylinder":
            mask = cylinder_mask(s.diameter_um, s.height_um, voxel_um)
        else:
            mask = box_mask((s.diameter_um, s.diameter_um, s.height_um), voxel_um)
        gradient = None if s.top_grain_um is None else (s.mean_grain_um, s.top_grain_um)
        return make_sample(
            mask,
            voxel_um,
            mean_size_um=s.mean_grain_um,
            spread=s.spread,
            gradient_um=gradient,
            seed=s.seed,
        )

    def project(self, omega_deg: float, frame: int = 0) -> Projection:
        """Expected spots of one projection, without background and noise."""
        projection = self.projector.project(omega_deg, frame)
        if self.settings.truth == "log":
            projection = _log_truth(projection, self.geometry.beam_stop_mask())
        return projection

    def grey(self, projection: Projection, frame: int = 0) -> np.ndarray:
        """What the detector shows: spots, background and, if asked for, noise.

        Returns
        -------
        ndarray (rows, cols)
            uint16 with noise, float32 without.
        """
        s = self.settings
        image = projection.image + np.float32(s.background)
        image[self.geometry.beam_stop_mask()] = 0
        if not s.noise:
            return image
        gain = self.beam.gain
        rng = np.random.default_rng([s.seed, frame])
        counts = rng.poisson(image / gain) * gain
        return np.minimum(np.round(counts), 65535).astype(np.uint16)

    def description(self) -> ScanDescription:
        """What ``scan.yaml`` says of the simulated scan."""
        s, g = self.settings, self.geometry
        return ScanDescription(
            pixel_um=g.pixel_um,
            source_sample_mm=g.source_sample_mm,
            sample_detector_mm=g.sample_detector_mm,
            tube_kv=s.tube_kv,
            material=s.material,
            exposure_s=s.exposure_s,
            binning=s.binning,
            detector_center_px=g.detector_center_px,
            detector_tilt_deg=g.detector_tilt_deg,
            beam_stop_px=g.beam_stop_px,
        )


def _log_truth(projection: Projection, beam_stop: np.ndarray) -> Projection:
    """The masks the paper trained on: Laplacian of Gaussian on the frame without noise.

    It keeps the concave core of a spot, about two thirds of its area.
    """
    settings = RoutineSettings(background=0.1, sigma_px=0.5, percentage=12, min_size_px=4)
    mask = log_segment(projection.image, settings, beam_stop)
    labels = projection.labels * mask
    spots = projection.spots.copy()
    spots["area_px"] = np.bincount(labels.ravel(), minlength=len(spots) + 1)[1:]
    return Projection(projection.image, labels, spots)


@lru_cache(maxsize=1)
def _cached(settings: SimulateSettings) -> Simulation:
    return Simulation(settings)


def preview_frame(settings: SimulateSettings, omega_deg: float) -> tuple[np.ndarray, Projection]:
    """One frame as it would be written, and its spots; the sample is kept for the next call."""
    simulation = _cached(settings)
    projection = simulation.project(omega_deg)
    return simulation.grey(projection), projection


#: What stands beside the stacks of a simulated scan.
SIDE_FILES = ("scan.yaml", "grains.h5", "spots.csv", "spots.part.csv")


class SimulationOutput:
    """The files of one simulated scan, while it is made and afterwards.

    Attributes
    ----------
    folder : Path
        Holds ``frames.tif``, ``truth.tif`` (0 or 255), ``labels.tif`` (``id`` of the spot table),
        ``spots.csv``, ``grains.h5`` and ``scan.yaml``.
    frames, truth, labels : FrameStore

    Raises
    ------
    OutputError
        The folder cannot be written or holds another result (unless `overwrite`).
    """

    def __init__(
        self, settings: SimulateSettings, folder: str | Path, *, overwrite: bool = False
    ) -> None:
        self.folder = Path(folder).expanduser()
        geometry = scan_geometry(settings)
        made = {
            "job": "simulate",
            "settings": settings.to_dict(),
            "input": {"name": settings.sample, "id": _file_id(settings.grain_map)},
            "napari_labdct": __version__,
        }
        shape = (settings.frames, *geometry.shape)
        spare_inputs([self.folder / "grains.h5"], settings.grain_map)
        there = [name for name in SIDE_FILES if (self.folder / name).exists()]
        if there and not overwrite and not (self.folder / "frames.tif.json").exists():
            raise OutputError(
                f"{self.folder} already holds {' and '.join(there)}; choose another folder or "
                "allow overwriting (--overwrite)."
            )
        stores: list[FrameStore] = []
        try:
            for name, dtype in (
                ("frames.tif", np.uint16 if settings.noise else np.float32),
                ("truth.tif", np.uint8),
                ("labels.tif", np.uint16),
            ):
                path = self.folder / name
                stores.append(
                    FrameStore.open_or_create(path, shape, dtype, made, overwrite=overwrite)
                )
        except OutputError:
            for store in stores:
                if not store.done.any():  # made just now: it would stand in the way
                    store.discard()
            raise
        self.frames, self.truth, self.labels = stores
        self._mend()

    def _mend(self) -> None:
        """Drop the table of a scan that was overwritten; end a row that a crash cut short."""
        path = self._part_path
        if not path.exists():
            return
        if not self.frames.done.any():
            path.unlink()
        elif not path.read_bytes().endswith(b"\n"):
            with open(path, "a", encoding="utf-8") as file:
                file.write("\n")

    @property
    def spots_path(self) -> Path:
        """The finished spot table."""
        return self.folder / "spots.csv"

    @property
    def _part_path(self) -> Path:
        return self.folder / "spots.part.csv"

    def write(self, index: int, grey: np.ndarray, projection: Projection) -> None:
        """Keep one frame; `frames` is written last, so a frame it holds is whole."""
        # After a crash these may hold a frame that `frames` lacks; it would be the same again.
        if not self.truth.done[index]:
            self.truth.write(index, (projection.labels > 0) * np.uint8(255))
        if not self.labels.done[index]:
            self.labels.write(index, projection.labels.astype(np.uint16))
        try:
            with open(self._part_path, "a", newline="", encoding="utf-8") as file:
                rows = projection.spots.tolist()
                csv.writer(file).writerows([[f"{v:.7g}" for v in row] for row in rows])
        except OSError as error:
            raise cannot_write(self._part_path, error) from error
        self.frames.write(index, grey)

    def finish(self) -> None:
        """Turn the rows of all frames into the finished spot table."""
        if self._part_path.exists():
            write_spot_csv(self.spots_path, self._tables())
            self._part_path.unlink()

    def let_go(self) -> None:
        """Let other processes go on with it."""
        for store in (self.frames, self.truth, self.labels):
            store.let_go()

    def _tables(self) -> Iterator[np.ndarray]:
        """Spot tables in the order of frames; a frame written twice counts once."""
        columns = len(SIMULATED_DTYPE.names)
        where: dict[int, list[int]] = {}
        last, at = None, 0
        with open(self._part_path, "rb") as file:
            for line in file:
                cells = line.split(b",")
                if len(cells) == columns:
                    frame = int(cells[0])
                    if frame != last or int(cells[2]) == 1:
                        where[frame] = [at, at]
                    where[frame][1] = at + len(line)
                    last = frame
                at += len(line)
            for frame in sorted(where):
                start, end = where[frame]
                file.seek(start)
                lines = file.read(end - start).decode().splitlines()
                rows = [tuple(float(v) for v in line.split(",")) for line in lines]
                yield np.array(rows, SIMULATED_DTYPE)


def _file_id(path: str | None) -> str:
    if not path:
        return ""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise SettingsError(f"The grain map {path} cannot be read ({error.strerror}).") from None


def simulate_scan(
    settings: SimulateSettings,
    out_folder: str | Path,
    *,
    overwrite: bool = False,
    output: SimulationOutput | None = None,
    simulation: Simulation | None = None,
) -> Iterator[Progress]:
    """Simulate a scan into a folder; closing the generator stops, calling it again goes on.

    Parameters
    ----------
    settings : SimulateSettings
    out_folder : path
        See `SimulationOutput` for the files.
    overwrite : bool
        Replace another result.
    output : SimulationOutput, optional
        Made before, if the caller wants to show the frames while they appear.
    simulation : Simulation, optional
        Of the same settings, if the caller has made it already.

    Yields
    ------
    Progress
        One per frame.

    Raises
    ------
    SettingsError, ScanError, OutputError
    """
    simulation = simulation or Simulation(settings)
    output = output or SimulationOutput(settings, out_folder, overwrite=overwrite)
    try:
        yield from _simulated(settings, output, simulation)
    finally:
        output.let_go()


def _simulated(
    settings: SimulateSettings, output: SimulationOutput, simulation: Simulation
) -> Iterator[Progress]:
    missing = output.frames.missing()
    if missing or not all((output.folder / n).exists() for n in ("scan.yaml", "grains.h5")):
        _describe(settings, output, simulation)
    omega = settings.omega_deg
    for done, index in enumerate(missing, settings.frames - len(missing) + 1):
        projection = simulation.project(omega[index], index)
        output.write(index, simulation.grey(projection, index), projection)
        if done == settings.frames:
            output.finish()
        visible = int((projection.spots["area_px"] > 0).sum())
        yield Progress(done, settings.frames, f"{visible} spots", index)
    output.finish()


def _describe(settings: SimulateSettings, output: SimulationOutput, simulation: Simulation) -> None:
    """Write what the scan is of, and how it was taken."""
    omega = settings.omega_deg
    scan = Scan(output.frames, omega, simulation.description(), output.folder.name)
    write_scan_yaml(output.folder / "scan.yaml", scan, ["frames.tif"])
    write_grainmapper(
        output.folder / "grains.h5",
        simulation.grains,
        simulation.material,
        source_sample_mm=settings.source_sample_mm,
        sample_detector_mm=settings.sample_detector_mm,
        tube_kv=settings.tube_kv,
        n_projections=settings.frames,
    )
