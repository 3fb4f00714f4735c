"""The job: from the spots of a scan to a grain map, with progress, cancel and resume."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from ..core.errors import OutputError, ScanError
from ..core.files import make_folder, read_json, remove, write_atomically
from ..core.frame_store import spare_inputs
from ..core.jobs import GRAINS, MASK, TABLE, VOLUME, Job, Output, Progress
from ..core.locks import alone
from ..core.recipes import recipe, recipe_hash
from ..core.stacks import FrameStack
from ..crystal import Material
from ..scan.scan import Scan
from ..spots.stacks import open_mask
from .checks import check_coverage, grain_inputs, highest_kev, missing_for_grains
from .finishing import FineMap, final_pass, keep_sound, tidy
from .growth import VoxelGrid
from .indexing import Stage
from .points import PointSearch
from .results import GRAIN_DTYPE, GrainResult, assemble, list_of_points, write_result, written
from .sample_mask import outline, probe_sample, shaped
from .search import Search, stages_for
from .settings import GrainSettings
from .spot_images import SpotImages, lattice_planes, spot_length_px
from .trust import ChanceLevel, chance_level

__all__ = ["GrainMapping", "missing_for_grains"]

#: A pixel of more than this on the sample makes the result a list of grains.
_POINTS_UM = 12.0
#: Seconds between two savings of the grains found so far.
_SAVE_S = 5.0
#: Parts of the progress bar, in thousandths: reading, chance level, search, final pass.
_READ, _CHANCE, _SEARCH, _FINAL = 100, 150, 800, 1000


class GrainMapping(Job):
    """A grain map of one scan from its binary spots.

    Parameters
    ----------
    scan : Scan
        With complete geometry.
    spots : stack (n, rows, cols)
        Anything that is not 0 is a spot; read one projection at a time.
    settings : GrainSettings
    material : Material or str, optional
        The scan's if not given.
    spots_id : str
        Tells the spots of one recipe from those of another.

    Attributes
    ----------
    result : GrainResult or None
        When `run` has come to its end.

    Raises
    ------
    ScanError
        Something of the geometry is missing, or the spots do not fit the scan.
    SettingsError
        The sample is not described as it must be.
    """

    name = "grains"
    settings_type = GrainSettings
    needs = (MASK,)
    makes = GRAINS
    ending = ".h5"
    scan: Scan
    settings: GrainSettings

    def __init__(
        self,
        scan: Scan,
        spots: FrameStack,
        settings: GrainSettings | None = None,
        material: Material | str | None = None,
        spots_id: str = "",
    ) -> None:
        self.scan, self.settings = scan, settings or GrainSettings()
        self.material, self.geometry = grain_inputs(scan, material, "A grain map")
        s, g = self.settings, self.geometry
        self.pixel_on_sample_um = g.pixel_um / g.magnification
        self.voxel_um = s.voxel_um or max(0.5, round(2 * self.pixel_on_sample_um) / 2)
        highest = s.energy_max_kev or highest_kev(scan)
        self.planes, self.hkl = lattice_planes(
            self.material, s.families, (s.energy_min_kev, highest)
        )
        self.points = s.result == "points" or (
            s.result == "auto" and self.pixel_on_sample_um > _POINTS_UM
        )
        self.threads = s.threads or min(os.cpu_count() or 1, 8)
        self._spots, self._spots_id = spots, spots_id
        self._outline = outline(s, self.voxel_um)
        radius = self._outline.radius_mm if self._outline else 0.05 * g.source_sample_mm
        self.omega_deg = np.asarray(scan.omega_deg)
        self.images = SpotImages(spots, g, self.omega_deg, radius, scan.hidden())
        self.result: GrainResult | None = None
        self.grain_um = 0.0
        self.search: Search | PointSearch | None = None
        self._files: tuple[Path, ...] = ()

    @classmethod
    def _of(cls, scan: Scan, settings: GrainSettings, files: Mapping[str, Path]) -> Self:
        path = files[MASK]
        made = cls(scan, open_mask(path, scan), settings, None, file_id(path))
        made._files = (path,)
        return made

    @property
    def output(self) -> Output:
        if self.points:
            return Output((), GRAIN_DTYPE, TABLE)
        shape = () if self._outline is None else self._outline.inside.shape
        return Output(shape, np.int32, VOLUME)

    @property
    def inputs(self) -> tuple[Any, ...]:
        return (self.scan, *self._files, self.settings.mask)

    def files(self, path: str | Path) -> list[Path]:
        """Map and table; table and recipe for a list of point grains."""
        output = Path(path).expanduser()
        table = output.with_suffix(".csv")
        return [table, output.with_suffix(".json")] if self.points else [output, table]

    def make(self, path: str | Path, *, overwrite: bool = False) -> Iterator[Progress]:
        """As `Job.make`; grains found so far stand in ``NAME.part.json`` meanwhile."""
        output = Path(path).expanduser()
        if output.suffix.lower() not in (".h5", ".hdf5"):
            raise OutputError(f"{output.name} must end in .h5; give such a name.")
        spare_inputs([output, output.with_suffix(".csv")], *self.inputs)
        state = output.with_name(output.name + ".part.json")
        make_folder(output.parent)
        with alone(output):
            if written(output, self.recipe(), self.points, overwrite):
                remove(state)  # killed before it was
                yield Progress(1000, 1000, f"{output} holds this result already.")
                return
            yield from self.run(state, keep_state=True)
            assert self.result is not None  # the run has come to its end
            write_result(output, self.result)
            remove(state)

    def recipe(self) -> dict[str, Any]:
        """What makes this map: settings, scan, geometry, and the hash of every input."""
        described = {k: v for k, v in self.scan.description.to_dict().items() if v is not None}
        mask = self.settings.mask
        return recipe(
            "grains",
            self.settings,
            self.scan,
            spots=self._spots_id,
            material={"name": self.material.name, "cell": list(self.material.cell)},
            geometry=described,
            omega_deg=hashlib.sha256(self.omega_deg.tobytes()).hexdigest()[:16],
            mask=file_id(mask) if mask else "",
        )

    def run(
        self, state_path: str | Path | None = None, *, keep_state: bool = False
    ) -> Iterator[Progress]:
        """Make the map; closing the generator cancels.

        Parameters
        ----------
        state_path : path, optional
            Where the grains found so far are kept. A file of the same recipe is gone on with, even
            after the process was killed; it is removed when the map is finished.
        keep_state : bool
            Leave that file, to be removed when the result is written: a kill in between then costs
            the final pass, not the search.

        Yields
        ------
        Progress
            In thousandths, with grains found, volume filled and time left in its message.
        """
        clock = time.monotonic()

        def step(done: float, text: str) -> Progress:
            passed = time.monotonic() - clock
            left = passed * (1000 - done) / done if done > 20 else None
            end = f", about {left:.0f} s left" if left is not None and done < 1000 else ""
            return Progress(int(done), 1000, text + end)

        n = self.scan.n_frames
        for done in self.images.load():
            yield step(_READ * done / n, "reading the spots")
        check_coverage(self.images.coverage(0))
        self.grain_um = self.settings.grain_um or self._grain_size_um()
        stages = stages_for(self.grain_um, n, self.settings.effort)
        chance = ChanceLevel.none()
        for measured in chance_level(
            self.images, self.planes, self.material, stages[-1], self._near()
        ):
            chance = measured
            yield step(_READ, "measuring the chance level")
        grid = self._outline
        if grid is None and not self.points:
            for found in self._probe(stages[0]):
                if found is None:
                    yield step(_CHANCE, "finding the sample")
                else:
                    grid = found
        if self.points:
            points = PointSearch(
                self.images, self.planes, self.material, self._seed_grid(), stages[-1], self.threads
            )
            self.search = points
            yield from self._search(points, state_path, step)
            for _ in points.judge_again():
                yield step(_SEARCH, "weighing the grains")
            for listed in list_of_points(self, points, chance):
                self.result = listed
                yield step(_FINAL - 1, "table of grains")
        else:
            assert grid is not None  # given, or just found
            volume = Search(
                self.images, self.planes, self.material, _coarser(grid), stages, self.threads
            )
            self.search = volume
            yield from self._search(volume, state_path, step)
            fine = FineMap.empty(grid)
            for share, finished in self._finish(volume, grid):
                fine = finished
                yield step(_SEARCH + (_FINAL - _SEARCH) * share, "final pass")
            for made in assemble(self, fine, volume.seeds, chance):
                self.result = made
                yield step(_FINAL - 1, "table of grains")
        if state_path is not None and not keep_state:
            remove(Path(state_path))
        assert self.result is not None  # both kinds of search end with one
        yield Progress(1000, 1000, f"{len(self.result.table)} grains")

    def _search(
        self,
        search: Search | PointSearch,
        state_path: str | Path | None,
        step: Callable[[float, str], Progress],
    ) -> Iterator[Progress]:
        state = None if state_path is None else Path(state_path)
        saved = {} if state is None else read_json(state)
        key = recipe_hash(self.recipe())
        if saved.get("hash") == key:
            for count in search.resume(saved["search"]):
                yield step(_CHANCE, f"{count} grains taken up")
        began = last = time.monotonic()

        def save(path: Path) -> None:
            write_atomically(path, json.dumps({"hash": key, "search": search.state()}))

        for _ in search.run():
            if state is not None and time.monotonic() - last > _SAVE_S:
                save(state)
                last = time.monotonic()
            done = _CHANCE + (_SEARCH - _CHANCE) * search.progress
            yield step(done, f"{len(search.grains)} grains, {search.filled:.0%} filled")
        if state is not None and last > began:  # a search that took long is not done again
            save(state)

    def _finish(self, search: Search, grid: VoxelGrid) -> Iterator[tuple[float, FineMap]]:
        fine = FineMap.empty(grid)
        for _ in search.judge_again():
            yield 0.0, fine
        grains, labels, from_grid = search.grains, search.labels, search.grid
        for turn, least in enumerate((0.8, 0.5)):
            count = max(len(grains), 1)
            for i, made in enumerate(
                final_pass(
                    self.images, self.planes, grains, labels, from_grid, grid, least, self.threads
                )
            ):
                fine = fine if made is None else made  # the last one is made
                yield (turn + min(i * self.threads / count, 1)) / 2, fine
            grains, labels, from_grid = fine.grains, fine.labels, grid
        # An outline says where the air begins; without one only sure voxels do.
        keep_sound(fine, 0.85 if self._outline is not None else 0.96)
        yield 1.0, fine
        tidy(fine, 8)
        yield 1.0, fine

    def _grain_size_um(self) -> float:
        """Typical grain size: the length of the spots, which focusing leaves alone."""
        return spot_length_px(self.images.images) * self.pixel_on_sample_um

    def _near(self) -> np.ndarray:
        """A few points about the axis (n, 3), mm, for the chance level."""
        rng = np.random.default_rng(0)
        reach = 0.5 * (self._outline.radius_mm if self._outline else 3e-3 * self.grain_um)
        return rng.uniform(-reach, reach, (24, 3)) / np.sqrt(3)

    def _probe(self, stage: Stage) -> Iterator[VoxelGrid | None]:
        dummy = shaped("cylinder", self.voxel_um, self.voxel_um, self.voxel_um)
        voter = Search(self.images, self.planes, self.material, dummy, (stage,)).voter(
            replace(stage, thin=1)
        )
        for found in probe_sample(voter, self.grain_um, 100 * self.grain_um):
            if found is None:
                yield None
            else:
                diameter, low, high = found
                yield shaped("cylinder", diameter, high - low, self.voxel_um, (high + low) / 2)

    def _seed_grid(self) -> VoxelGrid:
        """Seeds of a list of grains: two pixels apart on the sample."""
        stride = 2 * self.pixel_on_sample_um
        if self._outline is not None:
            return _coarser(self._outline, max(1, round(stride / self.voxel_um)))
        s = self.settings
        width = s.diameter_um or 20 * stride
        return shaped("cylinder", width, s.height_um or width, stride)


def _coarser(grid: VoxelGrid, by: int = 2) -> VoxelGrid:
    """The same sample on voxels `by` times as large; a voxel is inside if its middle is."""
    if by == 1:
        return grid
    shape = [max(1, -(-n // by)) for n in grid.inside.shape]
    index = [
        np.minimum(np.arange(n) * by + by // 2, m - 1) for n, m in zip(shape, grid.inside.shape)
    ]
    inside = np.ascontiguousarray(grid.inside[np.ix_(*index)])
    if not inside.any():
        inside[tuple(n // 2 for n in shape)] = True
    edge = grid.voxel_mm * by
    middle = (np.array(shape)[::-1] - 1) / 2
    first = grid.corner[:3] + (by // 2) * grid.voxel_mm
    return VoxelGrid(inside, edge, first + middle * edge)


def file_id(path: str | Path) -> str:
    """Hash of a file's content.

    Raises
    ------
    ScanError
        It cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with open(Path(path).expanduser(), "rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    except OSError as error:
        raise ScanError(f"{path} cannot be read ({error.strerror}).") from error
    return digest.hexdigest()[:16]
