"""Grain maps compared on one HTML page, with tables (CSV) and pictures beside it."""

from __future__ import annotations

import base64
import csv
import html
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.errors import OutputError, SettingsError
from ..core.files import make_folder, write_atomically
from ..core.jobs import Progress
from ..crystal import CrystalWarning, Material
from ..evaluation.report import PAGE_STYLE, number
from ..io.grain_map_files import read_grain_map
from ..io.grainmapper import MeasuredMap
from . import map_figures as pictures
from .map_comparison import MapComparison, compare_maps
from .map_registration import NOTHING, register_maps

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["MapsReport", "compare_files"]

#: Edges of the classes of size of the rate of detection, um.
SIZES_UM = (0, 10, 15, 20, 30, 40, 60, 80, 100, 150, 200, 300)
_ROWS = {
    "map_grains": "grains",
    "one_to_one": "one to one",
    "one_to_several": "one to several",
    "false_negative": "false negative",
    "false_positive": "false positive",
}


@dataclass(frozen=True, eq=False)
class MapsReport:
    """Maps compared with one reference.

    Attributes
    ----------
    reference : MeasuredMap
    reference_name : str
    names : list of str
    results : list of MapComparison
    """

    reference: MeasuredMap
    reference_name: str
    names: list[str] = field(default_factory=list)
    results: list[MapComparison] = field(default_factory=list)

    def common(self) -> np.ndarray:
        """Rows (n, maps) of the one-to-one pairs of grains that every map has one to one."""
        grains = [set(result.one_to_one[:, 0].tolist()) for result in self.results]
        shared = sorted(set.intersection(*grains))
        columns = []
        for result in self.results:
            row = {int(i): k for k, i in enumerate(result.one_to_one[:, 0])}
            columns.append([row[i] for i in shared])
        return np.array(columns, int).T.reshape(len(shared), len(self.results))

    def ratios(self) -> np.ndarray:
        """Boundary deviation of the second map over the first's, of common grains (Fig. 7b)."""
        common = self.common()
        one, two = (r.boundary_um[common[:, k]] for k, r in enumerate(self.results[:2]))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(one > 0, two / one, np.nan)

    def numbers(self, which: int) -> dict[str, float]:
        """What the page says of one map; lengths in um, angles in degrees."""
        result = self.results[which]
        sizes = result.diameters_um
        ratio = sizes[:, 1] / sizes[:, 0]
        there = result.map.voxels_per_grain > 0
        return {
            **result.table2(),
            "mean_diameter_um": float(result.map.diameters_um[there].mean()),
            "sd_diameter_um": _sd(result.map.diameters_um[there]),
            "volume_mm3": float(result.map.volumes_um3.sum() * 1e-9),
            "misorientation_median_deg": _middle(result.misorientation_deg),
            "distance_median_um": _middle(result.distance_um),
            "size_ratio_median": _middle(ratio),
            "boundary_mean_um": _mean(result.boundary_um),
            "boundary_of_volume_um": result.boundary_of_volume_um,
            "voxels_right": result.voxels_right,
            "overlap": result.overlap,
        }


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def _middle(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else float("nan")


def _sd(values: np.ndarray) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


def compare_files(
    reference: str | Path,
    maps: Sequence[str | Path],
    folder: str | Path,
    *,
    material: str | None = None,
    within_deg: float = 1.0,
    register: bool = True,
    overwrite: bool = False,
) -> Iterator[Progress | MapsReport]:
    """Compare one or two grain maps with a reference and write ``report.html`` and its tables.

    Parameters
    ----------
    reference : path
    maps : sequence of path
        One, or two for the comparison of the paper's Fig. 7.
    folder : path
        ``report.html``, ``grains.csv``, ``detection.csv``, ``summary.csv`` and pictures.
    material : str, optional
        Instead of what the files say.
    within_deg : float
        Orientations of one grain differ by this at most.
    register : bool
        Find how the maps lie over the reference; if not, they are taken as they lie.
    overwrite : bool

    Yields
    ------
    Progress, and at the end the `MapsReport`

    Raises
    ------
    ScanError, SettingsError, OutputError
    """
    if not 0 < within_deg <= 30:
        raise SettingsError(f"within_deg must be above 0 and at most 30, not {within_deg:g}.")
    folder = make_folder(folder)
    page = folder / "report.html"
    if page.exists() and not overwrite:
        raise OutputError(
            f"{page} exists; choose another folder or allow overwriting (--overwrite)."
        )
    total = 2 + 2 * len(maps)
    named = [
        (Path(p).name, lambda p=p: read_grain_map(p, material=material)) for p in maps
    ]  # fmt: skip
    for step in compare_measured(
        reference, named, material=material, within_deg=within_deg, register=register
    ):
        if isinstance(step, Progress):
            yield step
        else:
            yield Progress(total - 1, total, "drawing")
            write_report(folder, step)
            yield Progress(total, total, "done")
            yield step


def compare_measured(
    reference: str | Path,
    maps: Sequence[tuple[str, Callable[[], MeasuredMap]]],
    *,
    material: str | None = None,
    within_deg: float = 1.0,
    register: bool = True,
) -> Iterator[Progress | MapsReport]:
    """Compare maps with a reference, without writing anything; see `compare_files`.

    Parameters
    ----------
    reference : path
    maps : sequence of (name, callable)
        What a map is called, and what gives it when its turn has come.
    material, within_deg, register
        As for `compare_files`.

    Yields
    ------
    Progress, and at the end the `MapsReport`
    """
    total = 2 + 2 * len(maps)
    yield Progress(0, total, "reading the reference")
    first = read_grain_map(reference, material=material)
    report = MapsReport(first, Path(reference).name)
    for done, (name, read) in enumerate(maps):
        yield Progress(1 + 2 * done, total, f"reading {name}")
        second = read()
        symmetry = _one_symmetry(first, second, report.reference_name, name)
        yield Progress(2 + 2 * done, total, f"comparing {name}")
        found = NOTHING
        if register:
            found = register_maps(first.grains, second.grains, symmetry, within_deg=within_deg)
        result = compare_maps(
            first.grains, second.grains, symmetry, within_deg=within_deg, registration=found
        )
        if result.overlap < 0.95:
            _say(
                f"{1 - result.overlap:.0%} of the voxels of {report.reference_name} lie outside "
                f"{name}; their grains count as not found"
            )
        report.names.append(name)
        report.results.append(result)
    yield report


def _say(what: str) -> None:
    warnings.warn(f"{what}.", CrystalWarning, stacklevel=3)


def _one_symmetry(first: MeasuredMap, second: MeasuredMap, one: str, two: str) -> np.ndarray:
    """The symmetry of the crystals of both maps.

    Raises
    ------
    SettingsError
        There are several phases of different symmetry, or the maps are of different ones.
    """
    phases = [list(m.phases) or [m.material] for m in (first, second)]
    for name, found in zip((one, two), phases, strict=True):
        if any(not _alike(crystal, found[0]) for crystal in found):
            raise SettingsError(
                f"{name} has phases of different symmetry ({_names(found)}); compare maps of one "
                "phase each."
            )
    if not _alike(phases[0][0], phases[1][0]):
        raise SettingsError(
            f"The phases differ: {one} is of {_names(phases[0])}, {two} of {_names(phases[1])}; "
            "maps of one symmetry can be compared."
        )
    if {c.name for c in phases[0]} != {c.name for c in phases[1]}:
        _say(f"{one} is of {_names(phases[0])} and {two} of {_names(phases[1])}")
    return phases[0][0].symmetry


def _alike(first: Material, second: Material) -> bool:
    return first.symmetry.shape == second.symmetry.shape and np.allclose(
        first.symmetry, second.symmetry, atol=1e-6
    )


def _names(phases: list[Material]) -> str:
    return ", ".join(f"{crystal.name} ({crystal.space_group})" for crystal in phases)


def write_report(folder: Path, report: MapsReport) -> list[Path]:
    """Write the page, its pictures and its tables.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    written = []
    for name, rows in (
        ("grains.csv", grain_rows(report)),
        ("detection.csv", detection_rows(report)),
        ("summary.csv", summary_rows(report)),
    ):
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        write_atomically(folder / name, text.getvalue())
        written.append(folder / name)
    drawn = []
    for name, caption, figure in _figures(report):
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110)
        write_atomically(folder / f"{name}.png", buffer.getvalue())
        written.append(folder / f"{name}.png")
        drawn.append((caption, buffer.getvalue()))
    write_atomically(folder / "report.html", page(report, drawn))
    return [folder / "report.html", *written]


def grain_rows(report: MapsReport) -> list[tuple[Any, ...]]:
    """Of every grain of the reference its class and partner in each map, and how well it fits."""
    head = ["grain", "diameter_um", "x_um", "y_um", "z_um"]
    for k in range(1, len(report.results) + 1):
        head += [
            f"class_{k}", f"partners_{k}", f"diameter_um_{k}", f"misorientation_deg_{k}",
            f"distance_um_{k}", f"boundary_um_{k}",
        ]  # fmt: skip
    grains = report.reference.grains
    rows: list[list[Any]] = []
    for i in np.flatnonzero(grains.voxels_per_grain):
        place = grains.centroids_mm[i] * 1e3
        rows.append(
            [int(grains.grain_ids[i]), *(f"{v:.4g}" for v in (grains.diameters_um[i], *place))]
        )
    for result in report.results:
        ids = result.map.grain_ids
        at = {int(i): k for k, i in enumerate(result.one_to_one[:, 0])}
        for row, i in zip(rows, np.flatnonzero(grains.voxels_per_grain), strict=True):
            pair = at.get(int(i))
            if pair is not None:
                j = result.one_to_one[pair, 1]
                values = (
                    result.map.diameters_um[j], result.misorientation_deg[pair],
                    result.distance_um[pair], result.boundary_um[pair],
                )  # fmt: skip
                row += ["one to one", int(ids[j]), *(f"{v:.4g}" for v in values)]
            elif int(i) in result.one_to_several:
                parts = " ".join(str(ids[j]) for j in result.one_to_several[int(i)])
                row += ["one to several", parts, "", "", "", ""]
            else:
                row += ["false negative", "", "", "", "", ""]
    return [tuple(head), *(tuple(row) for row in rows)]


def detection_rows(report: MapsReport) -> list[tuple[Any, ...]]:
    """Grains of the reference by size, and how many of them each map found."""
    counts = [result.found_by_size(list(SIZES_UM)) for result in report.results]
    rows: list[tuple[Any, ...]] = [
        ("from_um", "grains", *(f"found_{k}" for k in range(1, len(counts) + 1)))
    ]
    for number_, low in enumerate(SIZES_UM):
        found = [c[number_] for c in counts]
        if found[0][1]:
            rows.append((low, found[0][1], *(f[0] for f in found)))
    return rows


def summary_rows(report: MapsReport) -> list[tuple[Any, ...]]:
    """Every number of the page."""
    columns = [report.numbers(k) for k in range(len(report.results))]
    rows: list[tuple[Any, ...]] = [("quantity", *report.names)]
    rows += [(name, *(f"{c[name]:.6g}" for c in columns)) for name in columns[0]]
    if len(columns) == 2:
        ratios = report.ratios()
        known = ratios[np.isfinite(ratios)]
        rows += [
            ("common_grains", len(report.common())),
            ("boundary_ratio_mean", f"{_mean(known):.6g}"),
            ("boundary_ratio_sd", f"{_sd(known):.6g}"),
            ("boundary_ratio_above_1", f"{_mean((known > 1).astype(float)):.6g}"),
        ]
    return rows


def _figures(report: MapsReport) -> Iterator[tuple[str, str, Figure]]:
    sizes = [r.reference.diameters_um[r.one_to_one[:, 0]] for r in report.results]
    yield (
        "deviation",
        "Boundary deviation over size",
        pictures.deviation_over_size(sizes, [r.boundary_um for r in report.results], report.names),
    )
    if len(report.results) == 2:
        common = report.common()
        size = sizes[0][common[:, 0]]
        yield (
            "ratio",
            f"Boundary deviation of {report.names[1]} over that of {report.names[0]}",
            pictures.ratio_over_size(size, report.ratios()),
        )
    yield (
        "detection",
        "Grains found over size",
        pictures.detection(detection_rows(report)[1:], report.names),
    )
    for number_, result in enumerate(report.results, 1):
        yield (
            f"boundaries_{number_}",
            f"Boundaries of {report.reference_name}, coloured by their distance in "
            f"{report.names[number_ - 1]}",
            pictures.boundaries(result),
        )


def page(report: MapsReport, figures: Sequence[tuple[str, bytes]]) -> str:
    """The page as HTML; nothing on it is fetched from elsewhere.

    Parameters
    ----------
    report : MapsReport
    figures : sequence of (caption, PNG)
    """
    esc = html.escape
    columns = [report.numbers(k) for k in range(len(report.results))]
    heads = "".join(f"<th>{esc(name)}</th>" for name in report.names)
    grains = report.reference.grains
    there = grains.voxels_per_grain > 0
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'>"
        f"<title>{esc(report.reference_name)}: grain maps compared</title>"
        f"<style>{PAGE_STYLE}</style><h1>Grain maps compared</h1>"
        f"<p>Reference: {esc(report.reference_name)}, {int(there.sum())} grains, mean diameter "
        f"{number(float(grains.diameters_um[there].mean()))} ± "
        f"{number(_sd(grains.diameters_um[there]))} um</p><h2>Grains</h2>"
        f"<table><tr><th></th>{heads}</tr>",
    ]
    for name, label in _ROWS.items():
        cells = ""
        for column in columns:
            several = f" ({column['several_of_map']})" if name == "one_to_several" else ""
            cells += f"<td>{column[name]}{several}</td>"
        parts.append(f"<tr><td>{label}</td>{cells}</tr>")
    for label, name in (
        ("mean diameter (um)", "mean_diameter_um"), ("standard deviation (um)", "sd_diameter_um"),
        ("volume of the grains (mm³)", "volume_mm3"),
        ("misorientation, median (deg)", "misorientation_median_deg"),
        ("distance of centres, median (um)", "distance_median_um"),
        ("diameter over the reference's, median", "size_ratio_median"),
        ("boundary deviation of a grain, mean (um)", "boundary_mean_um"),
        ("boundary deviation of all boundary voxels (um)", "boundary_of_volume_um"),
        ("voxels of the right grain", "voxels_right"),
        ("reference within the map", "overlap"),
    ):  # fmt: skip
        cells = "".join(f"<td>{number(column[name])}</td>" for column in columns)
        parts.append(f"<tr><td>{label}</td>{cells}</tr>")
    parts.append("</table>")
    if len(columns) == 2:
        rows = {row[0]: row[1] for row in summary_rows(report)}
        parts.append(
            f"<p>{rows['common_grains']} grains are one to one in both maps. The boundary "
            f"deviation of {esc(report.names[1])} over that of {esc(report.names[0])} is "
            f"{rows['boundary_ratio_mean']} ± {rows['boundary_ratio_sd']}, above 1 for "
            f"{100 * float(rows['boundary_ratio_above_1']):.0f} % of them.</p>"
        )
    parts.append("<h2>How the maps lie over the reference</h2><ul>")
    for name, result in zip(report.names, report.results, strict=True):
        said = " ".join(result.registration.words())
        parts.append(f"<li>{esc(name)}: {esc(said)}</li>")
    parts.append("</ul>")
    for caption, picture in figures:
        source = "data:image/png;base64," + base64.b64encode(picture).decode()
        parts.append(f"<h2>{esc(caption)}</h2><img alt='{esc(caption)}' src='{source}'>")
    parts.append(
        "<p><small>One to one and the other classes are those of table 2 and the boundary "
        "deviation is eq. 4 of Zhang &amp; Lindkvist (2025): the mean distance from the boundary "
        "voxels of a grain of the reference to the boundary of its partner. The number in brackets "
        "counts the map's grains.</small></p></html>\n"
    )
    return "".join(parts)
