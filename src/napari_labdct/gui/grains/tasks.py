"""What the Grains dock has done in a worker: mapping, calibrating, correcting, comparing.

Nothing here knows Qt or napari. What is mapped is written to the folder for results and opened
from there, so a map of this run and one from a file are looked at in the same way.
"""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import LabDCTError, ScanError
from ...core.files import make_folder, remove
from ...core.folders import data_folder
from ...core.jobs import Progress
from ...core.locks import alone
from ...core.recipes import recipe_hash
from ...crystal import ipf_colour
from ...grains.calibration import Calibration, CalibrationSettings, GeometryCalibration
from ...grains.edited_map import EditedMap, write_edited
from ...grains.mapping import GrainMapping, missing_for_grains
from ...grains.opened_map import OpenedMap, open_map
from ...grains.reflections import Reflections
from ...grains.results import write_result, written
from ...grains.seeding import Seeded, seed_at
from ...grains.settings import GrainSettings
from ...scan.scan import Scan

#: Seconds between two looks at a map that grows.
_LOOK_S = 0.5
#: A map of this scan shows more of its predicted reflections than this.
_LEAST_SEEN = 0.3

Steps = Generator[Any, None, None]
AXES = {"x": (1, 0, 0), "y": (0, 1, 0), "z": (0, 0, 1)}


@dataclass(frozen=True)
class Masks:
    """The spots of a scan: a stack, and what tells them from other spots."""

    name: str
    read: Callable[[], tuple[Any, str]]


@dataclass(frozen=True, eq=False)
class Growth:
    """A map that is being made, as far as it is.

    Attributes
    ----------
    labels : ndarray of int32 (nz, ny, nx) or None
        None for a list of point grains.
    voxel_um : float
    center_mm : ndarray (3,)
    points_um : ndarray (n, 3)
        (z, y, x) of each grain.
    colours : ndarray (n, 3)
    filled : float
        Share of the sample.
    """

    labels: np.ndarray | None
    voxel_um: float
    center_mm: np.ndarray
    points_um: np.ndarray
    colours: np.ndarray
    filled: float


@dataclass(eq=False)
class Study:
    """A map to be looked at: what the worker hands to the dock.

    Attributes
    ----------
    edited : EditedMap
    job : GrainMapping or None
        The spots of the scan in memory; None if no spots are known.
    reflections : Reflections or None
        Where its grains reflect to, for maps of which a scan with spots is known.
    notes : tuple of str
    fresh : bool
        It was just mapped, not opened from a file that the user chose.
    """

    edited: EditedMap
    job: GrainMapping | None
    reflections: Reflections | None
    notes: tuple[str, ...] = ()
    fresh: bool = False

    @property
    def opened(self) -> OpenedMap:
        """The map as it was opened."""
        return self.edited.opened

    @property
    def points_um(self) -> np.ndarray:
        """Centres (n, 3), (z, y, x), of all grains."""
        table = self.edited.table
        return np.stack([table[n] for n in ("z_um", "y_um", "x_um")], axis=1)

    def colours(self, axis: str) -> np.ndarray:
        """IPF colours (n, 3) of all grains along x, y or z of the sample."""
        symmetry = self.opened.material.symmetry
        return ipf_colour(self.edited.orientations, symmetry, AXES[axis])


@dataclass(frozen=True)
class Edited:
    """A step was taken: grains whose spots changed, and what to say of it."""

    study: Study
    grains: tuple[int, ...]
    said: str = ""


def journals_folder() -> Path:
    """Where corrections are kept: beside the user's reviews, not in a cache."""
    return data_folder() / "grains"


def missing_words(scan: Scan, material: str | None) -> list[str]:
    """What is missing for a grain map, in words."""
    missing = missing_for_grains(scan)
    if material is None and scan.description.material is None:
        missing.append("material")
    return missing


def read_masks(path: str | Path, scan: Scan) -> tuple[Any, str]:
    """A binary stack of a scan from a file, and its hash."""
    from ...cli.common import open_mask
    from ...grains.mapping import file_id

    return open_mask(str(path), scan), file_id(path)


def map_grains(
    scan: Scan, masks: Masks, settings: GrainSettings, material: str | None, folder: Path
) -> Steps:
    """Map the grains of a scan, or find them mapped; goes on where it was stopped.

    Yields
    ------
    Progress, `Growth` now and then, and at the end the `Study`
    """
    yield Progress(0, 0, "Reading the settings")
    spots, spots_id = masks.read()
    job = GrainMapping(scan, spots, settings, material, spots_id)
    path = place(job, folder)
    table = path.with_suffix(".csv")
    state = path.with_name(f"{path.name}.part.json")
    if written(path, job.recipe(), job.points, overwrite=True):
        said = "This map was made before; it was opened again."
    else:
        make_folder(path.parent)
        with alone(path):
            yield from _in_words(_grow(job, state))
        write_result(path, job.result)
        remove(state)
        said = _remarks(job)
    yield Progress(990, 1000, "opening the map")
    study = yield from _study(open_map(table if job.points else path, material), job)
    study.fresh = True
    yield study
    yield Progress(1000, 1000, " ".join([_count(study), said]).strip())


def place(job: GrainMapping, folder: Path) -> Path:
    """Where the map of a job stands in the folder for results."""
    name = re.sub(r"[^\w.-]+", "_", job.scan.name).strip("._")[:60] or "scan"
    return folder / "grains" / f"{name}-{recipe_hash(job.recipe())}.h5"


def _count(study: Study) -> str:
    count = len(study.edited.numbers)
    return f"{count} grain{'s' if count != 1 else ''}."


def _remarks(job: GrainMapping) -> str:
    result = job.result
    parts = []
    if result.doubtful:
        parts.append(f"{result.doubtful} doubtful grains were left out.")
    if result.doubt:
        parts.append(for_the_window(result.doubt))
    return " ".join(parts)


def for_the_window(text: str) -> str:
    """A sentence of the command line in the words of the dock."""
    words = {
        "'labdct calibrate --try-materials' tries": "Calibrate with 'Try materials' tries",
        "('labdct calibrate' tries": "(Calibrate tries",
        "with --effort thorough": "with the effort 'thorough'",
        ", or --sample spots": ", or let the spots tell",
        "diameter_um and height_um": "a diameter and a height",
        "give --material, or enter it in scan.yaml": "choose it above",
    }
    for old, new in words.items():
        text = text.replace(old, new)
    return text


def _in_words(steps: Iterator[Any]) -> Steps:
    """The same steps, with faults in the words of the dock."""
    try:
        yield from steps
    except LabDCTError as error:
        raise type(error)(for_the_window(str(error))) from error


def _grow(job: GrainMapping, state: Path) -> Steps:
    """Run a mapping; what it has so far is shown now and then."""
    shown, last = 0, 0.0
    for step in job.run(state, keep_state=True):
        # the run bar has its own estimate of the time
        yield replace(step, done=min(step.done, 985), message=step.message.split(", about ")[0])
        count = len(job.search.grains) if job.search is not None else 0
        if count != shown and time.monotonic() - last > _LOOK_S:
            shown, last = count, time.monotonic()
            yield growth(job)


def growth(job: GrainMapping) -> Growth:
    """What a mapping has found so far."""
    search = job.search
    grains = list(search.grains)
    u = np.array([g.orientation for g in grains]).reshape(-1, 3, 3)
    points = np.array([g.core_mm for g in grains]).reshape(-1, 3)
    labels = None if job.points else search.labels.copy()
    return Growth(
        labels, search.grid.voxel_mm * 1e3, search.grid.center_mm, points[:, ::-1] * 1e3,
        ipf_colour(u, job.material.symmetry).reshape(-1, 3), search.filled,
    )  # fmt: skip


def open_file(path: Path, material: str | None, scan: Scan | None, masks: Masks | None) -> Steps:
    """Open a map; if a scan with spots is known, look its reflections up."""
    yield Progress(0, 0, f"Reading {path.name}")
    opened = open_map(path, material)
    notes = list(opened.notes)
    job = None
    if scan is not None and masks is not None:
        try:
            job = _job_of(opened, scan, masks)
        except LabDCTError as error:
            notes.append(f"Its spots are not shown: {error}")
    study = yield from _study(opened, job)
    study.notes = (*study.notes, *notes)
    yield study
    yield Progress(1, 1, " ".join([_count(study), *study.notes]))


def _job_of(opened: OpenedMap, scan: Scan, masks: Masks) -> GrainMapping:
    made = opened.recipe.get("settings", {})
    known = {n: made[n] for n in ("families", "energy_min_kev", "energy_max_kev") if n in made}
    spots, spots_id = masks.read()
    result = "points" if opened.grains is None else "volume"
    settings = GrainSettings(**known, result=result)
    return GrainMapping(scan, spots, settings, opened.material, spots_id)


def _study(opened: OpenedMap, job: GrainMapping | None) -> Generator[Progress, None, Study]:
    """Everything that is looked up before a map is shown."""
    edited = EditedMap(opened, journals_folder() / f"{opened.key}.grains.jsonl")
    notes = (edited.note,) if edited.note else ()
    reflections = None
    if job is not None:
        for done in job.images.load():
            yield Progress(done, 2 * job.scan.n_frames, "reading the spots")
        job.images.forget()
        reflections = Reflections(
            job.images, job.planes, _first_orders(job), 1 if job.points else 0
        )
        numbers, total = edited.numbers, len(edited.numbers)
        centres = np.array([edited.center_mm(n) for n in numbers]).reshape(-1, 3)
        for done in reflections.fill(numbers, edited.orientations[numbers - 1], centres):
            yield Progress(total + done, 2 * total, "looking up the reflections")
        every = np.concatenate([reflections.of_grain(n)["seen"] for n in numbers.tolist()])
        seen = float(every.mean()) if len(every) else 0.0
        if seen < _LEAST_SEEN:
            notes = (
                *notes,
                f"Only {seen:.0%} of its predicted spots are seen in '{job.scan.name}': the map "
                "may belong to another scan, or lie in another frame.",
            )
    return Study(edited, job, reflections, notes)


def _first_orders(job: GrainMapping) -> np.ndarray:
    """The first allowed reflection (n, 3) of each lattice plane: 0 2 0 for (0 1 0) of iron."""
    allowed = set(map(tuple, job.material.reflections(job.settings.families).hkl.tolist()))
    named = []
    for plane in job.hkl.tolist():
        orders = (tuple(n * i for i in plane) for n in range(1, 9))
        named.append(next((hkl for hkl in orders if hkl in allowed), tuple(plane)))
    return np.array(named)


# ------------------------------------------------------------------------ corrections


def edit(study: Study, step: Callable[[EditedMap], Any], verb: str) -> Steps:
    """Take one step and look up again what it changes."""
    yield Progress(0, 0, verb)
    command = step(study.edited)
    if command is None:
        yield Edited(study, ())
        return
    for number in command.grains:
        _renew(study, number)
    if study.reflections is not None:
        study.reflections.index()
    name = command.name[0].upper() + command.name[1:]
    yield Edited(study, command.grains, f"{name}." if verb == "do" else f"{verb}: {command.name}.")


def seed(study: Study, point_um: np.ndarray) -> Steps:
    """Look for a grain at a point (z, y, x) and add it."""
    if study.job is None:
        raise ScanError("A seed needs the spots of the scan; choose them above, and open the map.")
    job = study.job
    point = np.asarray(point_um, float)[::-1] * 1e-3
    for step in seed_at(job.images, job.planes, job.material, study.edited, point):
        if isinstance(step, Seeded):
            found = (step.row, step.orientation, step.voxels)
            yield from edit(study, lambda e, found=found: e.add(*found), "do")
        else:
            yield step


def _renew(study: Study, number: int) -> None:
    if study.reflections is None:
        return
    if study.edited.gone[number - 1]:
        study.reflections.forget(number)
    else:
        u = study.edited.orientations[number - 1]
        study.reflections.put(number, u, study.edited.center_mm(number))


def export(study: Study, path: Path) -> Steps:
    """Write the map as it is now."""
    from ...core.frame_store import spare_inputs

    yield Progress(0, 1)
    if study.job is not None:
        spare_inputs([path], study.job.scan)
    paths = write_edited(path, study.edited)
    yield Progress(1, 1, f"Wrote {' and '.join(str(p) for p in paths)}")


# ------------------------------------------------------------------------ calibration


def calibrate(
    scan: Scan, masks: Masks, settings: CalibrationSettings, material: str | None
) -> Steps:
    """Find the geometry from the spots; yields the `Calibration` at the end."""
    yield Progress(0, 0, "Reading the settings")
    spots, _ = masks.read()
    job = GeometryCalibration(scan, spots, settings, material)
    yield from _in_words(job.run())
    yield job.result
    yield Progress(1000, 1000, f"{job.result.residual_px:.2f} px off")


def write_geometry(path: Path, found: Calibration) -> Steps:
    """Write what was found into scan.yaml, and keep the old file."""
    from ...io.scan_yaml import update_scan_yaml

    yield Progress(0, 1)
    kept = update_scan_yaml(path, found.scan_yaml())
    yield Progress(1, 1, f"{path} is written; {kept.name} is what it was.")


def described_in(scan: Scan) -> Path | None:
    """The scan.yaml that describes a scan."""
    from ...io.scan_yaml import description_file

    if not scan.source:
        return None
    source = Path(scan.source)
    return description_file(source if source.is_dir() else source.parent)


# ------------------------------------------------------------------------ comparison


def compare(
    study: Study, reference: Path, second: Path | None, within_deg: float, register: bool
) -> Steps:
    """Compare the map with a better one; yields the `MapsReport` at the end."""
    from ...grains.edited_map import measured_map
    from ...grains.map_report import compare_measured
    from ...io.grain_map_files import read_grain_map

    yield Progress(0, 0, f"Reading {reference.name}")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        maps = [(study.opened.path.name, lambda: measured_map(study.edited))]
        if second is not None:
            maps.append((second.name, lambda: read_grain_map(second)))
        summary = ""
        for step in compare_measured(reference, maps, within_deg=within_deg, register=register):
            yield step
            if not isinstance(step, Progress):
                summary = f"{len(step.results[0].one_to_one)} grains one to one."
    yield Progress(1, 1, " ".join([summary, *(str(w.message) for w in said)]))


def write_report(report: Any, folder: Path) -> Steps:
    """Write the page, its pictures and tables into a folder."""
    from ...core.errors import OutputError
    from ...grains import map_report

    yield Progress(0, 1, "drawing")
    folder = make_folder(folder)
    if (folder / "report.html").exists():
        raise OutputError(f"{folder / 'report.html'} exists; choose another folder.")
    map_report.write_report(folder, report)
    yield Progress(1, 1, f"Wrote {folder / 'report.html'}")
