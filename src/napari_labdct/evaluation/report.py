"""The comparison of two segmentations on one HTML page, pictures and recipes included."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..background.rolling_median import SPOT_WINDOW, RollingMedian
from ..core.files import atomic, write_atomically
from ..core.jobs import Progress
from ..core.outputs import ResultFolder
from ..core.recipes import recipe
from ..scan.scan import Scan
from . import figures as pictures
from .comparison import Comparison, Segmentation, compare

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: What the names of `Comparison.numbers` mean, in the order of the table.
LABELS = {
    "frames": "projections",
    "spots_a": "spots in A",
    "spots_b": "spots in B",
    "both": "in both",
    "only_a": "only in A",
    "only_b": "only in B",
    "merged": "spots of A over several of B",
    "split": "spots of B under several of A",
    "agreement_f1": "agreement (F1)",
    "pixel_iou": "pixel overlap (IoU)",
    "centroid_error_px": "mean distance of centroids (px)",
    "unexplained_a": "bright pixels left by A",
    "unexplained_b": "bright pixels left by B",
    "median_area_px_a": "median area in A (px)",
    "median_area_px_b": "median area in B (px)",
    "median_snr_a": "median SNR in A",
    "median_snr_b": "median SNR in B",
}
_AGAINST = {
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "pixel_iou": "pixel overlap (IoU)",
    "centroid_error_px": "mean distance of centroids (px)",
    "merged": "merged spots",
    "split": "split spots",
}
PAGE_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1180px;margin:2em auto;padding:0 1em;
color:#1c2126;background:#fff}
h1{font-size:1.5em;margin-bottom:0}h2{font-size:1.15em;margin-top:2em}
table{border-collapse:collapse;margin:.6em 0}td,th{padding:.15em .9em .15em 0;text-align:right;
border-bottom:1px solid #dfe3e7;vertical-align:top}td:first-child,th:first-child{text-align:left}
img{max-width:100%;border-radius:4px}.side{display:flex;gap:3em;flex-wrap:wrap}
.a{color:#007a8a;font-weight:600}.b{color:#b06000;font-weight:600}small{color:#5b656f}
td.t{text-align:left;font-family:ui-monospace,monospace;font-size:.85em;white-space:pre-wrap}
"""


def number(value: float) -> str:
    """A number as people write it; a dash for one that does not exist."""
    if not np.isfinite(value):
        return "–"
    if float(value).is_integer() and abs(value) < 1e9:
        return f"{int(value):,}".replace(",", "\u202f")
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def flat(made: dict[str, Any], before: str = "") -> dict[str, str]:
    """A recipe as ``"settings.sigma_px" -> "2.0"``."""
    out: dict[str, str] = {}
    for name, value in made.items():
        if isinstance(value, dict):
            out.update(flat(value, f"{before}{name}."))
        else:
            out[before + name] = "–" if value is None else str(value)
    return out


def recipe_rows(a: dict[str, Any], b: dict[str, Any]) -> list[tuple[str, str, str, bool]]:
    """Two recipes side by side: name, value in A, value in B, whether they differ."""
    one, two = flat(a), flat(b)
    names = list(dict.fromkeys([*one, *two]))
    return [
        (name, one.get(name, ""), two.get(name, ""), one.get(name) != two.get(name))
        for name in names
    ]


def picked_frames(result: Comparison, count: int = 2) -> list[int]:
    """Projections worth a picture: where A and B differ most, and the median one."""
    table = result.frames
    if not table.size:
        return []
    differ = table["only_a"] + table["only_b"]
    order = np.argsort(differ, kind="stable")
    picked = [order[-1], order[len(order) // 2]][:count]
    return list(dict.fromkeys(int(table["frame"][k]) for k in picked))


def page(
    scan: Scan,
    a: Segmentation,
    b: Segmentation,
    result: Comparison,
    figures: Iterable[tuple[str, Figure]],
) -> str:
    """The whole page as HTML; nothing on it is fetched from elsewhere.

    Parameters
    ----------
    scan : Scan
    a, b : Segmentation
    result : Comparison
    figures : iterable of (caption, Figure)
        Embedded as PNG.
    """
    esc = html.escape
    numbers = result.numbers()
    rows = "".join(
        f"<tr><td>{esc(label)}</td><td>{number(numbers[name])}</td></tr>"
        for name, label in LABELS.items()
    )
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'>"
        f"<title>{esc(scan.name)}: {esc(a.name)} and {esc(b.name)}</title>"
        f"<style>{PAGE_STYLE}</style>",
        f"<h1>{esc(scan.name)}</h1><p><span class='a'>A: {esc(a.name)}</span> and "
        f"<span class='b'>B: {esc(b.name)}</span> on {result.score.frames} of "
        f"{scan.n_frames} projections of {scan.shape[0]} × {scan.shape[1]} px</p>",
        f"<div class='side'><div><h2>Numbers</h2><table>{rows}</table></div>",
    ]
    if result.has_truth:
        rows = "".join(
            f"<tr><td>{esc(label)}</td><td>{number(numbers[f'{name}_a_truth'])}</td>"
            f"<td>{number(numbers[f'{name}_b_truth'])}</td></tr>"
            for name, label in _AGAINST.items()
        )
        parts.append(
            "<div><h2>Against the truth</h2><table><tr><th></th><th class='a'>A</th>"
            f"<th class='b'>B</th></tr>{rows}</table>{_bins(result)}</div>"
        )
    parts.append("</div>")
    for caption, figure in figures:
        parts.append(f"<h2>{esc(caption)}</h2><img alt='{esc(caption)}' src='{_embedded(figure)}'>")
    parts.append(
        "<h2>What made A and B</h2><table><tr><th>quantity</th><th class='a'>A</th>"
        "<th class='b'>B</th></tr>"
    )
    for name, one, two, differ in recipe_rows(a.recipe, b.recipe):
        one, two = (f"<b>{esc(v)}</b>" if differ else esc(v) for v in (one, two))
        parts.append(f"<tr><td>{esc(name)}</td><td class='t'>{one}</td><td class='t'>{two}</td>")
    parts.append(
        "</table><p><small>Spots match one to one if they share half of the smaller one or their "
        "centroids are at most 3 px apart. SNR is the mean of a spot above its local background "
        "over the local noise. Bright pixels stand 5 noise sigmas above the background outside "
        "all spots.</small></p></html>\n"
    )
    return "".join(parts)


def figures(
    scan: Scan,
    a: Segmentation,
    b: Segmentation,
    result: Comparison,
    median_window: int = SPOT_WINDOW,
) -> Iterator[tuple[str, Figure]]:
    """The pictures of a report, drawn one after the other."""
    median = RollingMedian(scan, median_window) if scan.n_frames >= 3 else None
    names = (a.name, b.name)
    for index in picked_frames(result):
        cleaned = a.cleaned if a.cleaned is not None else b.cleaned
        angle = "" if scan.omega_deg is None else f", omega {scan.omega_deg[index]:g}°"
        caption = f"Projection {index}{angle}"
        yield (
            caption,
            pictures.figure5(
                scan.frame(index),
                None if cleaned is None else np.asarray(cleaned[index]),
                a.mask(index, scan.shape),
                None if median is None else median.at(index),
                b.mask(index, scan.shape),
                names=names,
                orientation=scan.orientation,
            ),
        )
    yield "Spots in every projection", pictures.frame_curve(result.frames, names)
    yield (
        "Area and signal-to-noise ratio of the spots",
        pictures.distributions(result.spots("a"), result.spots("b"), names),
    )
    if result.has_truth:
        yield (
            "Against the truth",
            pictures.recall_by_snr(result.by_snr("a"), result.by_snr("b"), names),
        )


def write_report(
    folder: str | Path,
    scan: Scan,
    a: Segmentation,
    b: Segmentation,
    result: Comparison,
    median_window: int = SPOT_WINDOW,
) -> Path:
    """Write ``report.html`` and, beside it, its pictures as PNG files.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    folder = Path(folder)
    drawn = list(figures(scan, a, b, result, median_window))
    for k, (_, figure) in enumerate(drawn, start=1):
        with atomic(folder / f"figure_{k}.png") as part:
            figure.savefig(part, format="png")
    path = folder / "report.html"
    write_atomically(path, page(scan, a, b, result, drawn))
    return path


#: What a comparison writes into its folder, and nothing else there is touched.
FILES = ("summary.csv", "frames.csv", "spots_[ab].csv", "snr_[ab].csv", "figure_[0-9].png",
         "report.html")  # fmt: skip


def holds_report(folder: str | Path) -> bool:
    """Whether a folder holds files of the names of a report."""
    return any(path for name in (*FILES, "recipe.json") for path in Path(folder).glob(name))


def report_folder(
    folder: str | Path,
    scan: Scan,
    a: Segmentation,
    b: Segmentation,
    truth: Segmentation | None = None,
    *,
    median_window: int = SPOT_WINDOW,
    frames: Iterable[int] | None = None,
    overwrite: bool = False,
) -> ResultFolder:
    """Where a comparison is written to, claimed before the work begins.

    Raises
    ------
    OutputError
        The folder holds another report, or what this one was made of has changed.
    """
    sides = {
        key: side and {"name": side.name, "recipe": side.recipe}
        for key, side in (("a", a), ("b", b), ("truth", truth))
    }
    made = recipe("compare", {"median_window": median_window}, scan, **sides,
                  frames=None if frames is None else sorted(int(i) for i in frames))  # fmt: skip
    read = (scan, a.masks, b.masks, truth and truth.masks)
    return ResultFolder(folder, made, FILES, inputs=read, overwrite=overwrite)


def run(
    folder: str | Path,
    scan: Scan,
    a: Segmentation,
    b: Segmentation,
    truth: Segmentation | None = None,
    *,
    median_window: int = SPOT_WINDOW,
    frames: Iterable[int] | None = None,
    overwrite: bool = False,
) -> Iterator[Progress | Comparison]:
    """Compare, and write CSV tables, pictures and the report into `folder`.

    Yields
    ------
    Progress, one a projection, and at the end the `Comparison`

    Raises
    ------
    ScanError, OutputError
    """
    wanted = list(range(scan.n_frames) if frames is None else frames)
    output = report_folder(
        folder, scan, a, b, truth, median_window=median_window,
        frames=None if frames is None else wanted, overwrite=overwrite,
    )  # fmt: skip
    result = Comparison((a.name, b.name))
    yield Progress(0, len(wanted))
    with output.held():
        steps = compare(scan, a, b, truth, median_window=median_window, frames=wanted)
        for done, one in enumerate(steps, start=1):
            result.add(one)
            yield Progress(done, len(wanted), frame=one.frame)
        with output.written():
            result.write_csv(output.path)
            write_report(output.path, scan, a, b, result, median_window)
    yield result


def _bins(result: Comparison) -> str:
    rows = []
    for one, two in zip(result.by_snr("a"), result.by_snr("b")):
        if one["truth"] or one["spots"] or two["spots"]:
            values = [side[n] for side in (one, two) for n in ("recall", "precision", "f1")]
            cells = "".join(f"<td>{number(float(v))}</td>" for v in values)
            rows.append(f"<tr><td>{pictures.snr_span(one)}</td><td>{one['truth']}</td>{cells}</tr>")
    heads = "".join(
        f"<th class='{side.lower()}'>{name} {side}</th>"
        for side in "AB"
        for name in ("recall", "precision", "F1")
    )
    return f"<table><tr><th>SNR</th><th>true spots</th>{heads}</tr>{''.join(rows)}</table>"


def _embedded(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
