"""Figures like the paper's, drawn without a screen.

Every function returns a `matplotlib.figure.Figure`; keep it with ``figure.savefig(path)``.
pyplot and its global state are never touched, so any thread may draw.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..background.drift import source_drift
from ..core.robust import robust_sigma
from ..spots.matching import agreement, line_points, line_profile, match_spots, residual

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Colours of A, of B and of what both found; they stay apart for colour-blind eyes.
CYAN, ORANGE, WHITE = "#00e5ff", "#ff9f1c", "#ffffff"
_DARK = "#15181c"


def figure5(
    raw: np.ndarray,
    cleaned: np.ndarray | None,
    mask_a: np.ndarray,
    background: np.ndarray | None,
    mask_b: np.ndarray,
    *,
    names: tuple[str, str] = ("network", "routine"),
    window: tuple[int, int, int, int] | None = None,
    orientation: int = 1,
    title: str = "",
) -> Figure:
    """Two segmentations of one projection beside each other, like the paper's Fig. 5.

    First row: the projection, the network's output, spots of A, spots of B.  Second row: the
    projection without its background, what A leaves of it, what B leaves of it, agreement.
    Without `cleaned` or `background` their panels are left out.

    Parameters
    ----------
    raw : array (rows, cols)
        The projection, counts.
    cleaned : array (rows, cols), optional
        Output of the network, 0 to 255.
    mask_a, mask_b : arrays (rows, cols)
        Non-zero is spot.
    background : array (rows, cols), optional
        Rolling median, counts; without it the residuals are ``a - a * A`` of the raw counts.
    names : (str, str)
        What A and B are called.
    window : (row, row end, col, col end), optional
        Part to show; counts in the captions are those of the part.
    orientation : int
        TIFF Orientation tag; the pictures stand upright, the arrays are as stored.
    title : str

    Returns
    -------
    Figure
    """
    rows = slice(*window[:2]) if window else slice(None)
    cols = slice(*window[2:]) if window else slice(None)

    def part(image):
        return None if image is None else np.asarray(image)[rows, cols]

    raw, cleaned, background = part(raw), part(cleaned), part(background)
    mask_a, mask_b = part(mask_a) > 0, part(mask_b) > 0
    match = match_spots(mask_a, mask_b)
    ground = background if background is None else background * source_drift(raw, background)
    left = {"vmin": None, "vmax": None}
    if ground is not None:
        level = spread(raw - ground)
        left = {"vmin": -2 * level, "vmax": 10 * level}
    counts = dict(zip(("vmin", "vmax"), contrast(raw)))
    if ground is None:
        left = counts
    name_a, name_b = names
    first = [("projection a", raw, counts)]
    second = []
    if ground is not None:
        second.append(("a − background", raw - ground, left))
    if cleaned is not None:
        first.append(("network result, 0–255", cleaned, {"vmin": 0, "vmax": 255}))
    first.append((f"A: {name_a}, {match.n_a} spots", _paint(mask_a, CYAN), {}))
    first.append((f"B: {name_b}, {match.n_b} spots", _paint(mask_b, ORANGE), {}))
    second.append(("left unmarked by A (residual)", residual(raw, mask_a, ground), left))
    second.append(("left unmarked by B (residual)", residual(raw, mask_b, ground), left))
    caption = f"both {match.found} · only A {len(match.only_a)} · only B {len(match.only_b)}"
    second.append((caption, _agreement_picture(raw, mask_a, mask_b, counts), {}))

    width = max(len(first), len(second))
    figure = _new_figure(3.6 * width, 7.7 * raw.shape[0] / raw.shape[1] + 0.4)
    axes = figure.subplots(2, width, squeeze=False)
    for row, panels in zip(axes, (first, second)):
        for axis in row[len(panels) :]:
            axis.set_axis_off()
        for axis, (text, image, options) in zip(row, panels):
            _show(axis, upright(image, orientation), text, options)
    if title:
        figure.suptitle(title, color=WHITE, fontsize=11)
    return figure


def figure4(
    raw: np.ndarray,
    cleaned: np.ndarray,
    corrected: np.ndarray | None = None,
    *,
    lines: dict[str, tuple] | None = None,
    width_px: int = 1,
    beam_stop: np.ndarray | None = None,
    orientation: int = 1,
    title: str = "",
) -> Figure:
    """Pixel values of the projection and of the cleaned one along lines, like the paper's Fig. 4.

    Parameters
    ----------
    raw, cleaned : arrays (rows, cols)
    corrected : array (rows, cols), optional
        The projection minus its rolling median.
    lines : dict of name to ((row, col), (row, col)), optional
        A diagonal and a horizontal line if not given.
    width_px : int
        Lines this wide are averaged.
    beam_stop : bool array (rows, cols), optional
        Its part of a line is shaded.
    orientation : int
        TIFF Orientation tag for the images.
    title : str
    """
    n_rows, n_cols = raw.shape
    if lines is None:
        lines = preset_lines(raw.shape)
    figure = _new_figure(10.5, 4.4 + 2.3 * len(lines))
    grid = figure.add_gridspec(1 + len(lines), 2, height_ratios=[2.2] + [1] * len(lines))
    limits = dict(zip(("vmin", "vmax"), contrast(raw)))
    for column, (text, image, options) in enumerate(
        [("projection", raw, limits), ("network result", cleaned, {"vmin": 0, "vmax": 255})]
    ):
        axis = figure.add_subplot(grid[0, column])
        _show(axis, upright(image, orientation), text, options)
        for k, ends in enumerate(lines.values()):
            at = upright_points(line_points(*ends)[[0, -1]], (n_rows, n_cols), orientation)
            axis.plot(at[:, 1], at[:, 0], color=(WHITE, "#b9a6ff")[k % 2], lw=0.9, ls="--")
    for k, (name, (start, end)) in enumerate(lines.items()):
        axis = figure.add_subplot(grid[k + 1, :])
        draw_profile(axis, raw, cleaned, corrected, start, end, width_px, beam_stop)
        axis.set_title(f"{name} line", color=WHITE, fontsize=9, loc="left")
    if title:
        figure.suptitle(title, color=WHITE, fontsize=11)
    return figure


def preset_lines(shape: tuple[int, int]) -> dict[str, tuple]:
    """The two lines of the paper's Fig. 4: ``name -> ((row, col), (row, col))``."""
    rows, cols = shape
    return {
        "diagonal": ((0, 0), (rows - 1, cols - 1)),
        "horizontal": (((rows - 1) / 2, 0), ((rows - 1) / 2, cols - 1)),
    }


def draw_profile(
    axis, raw, cleaned, corrected, start, end, width_px=1, beam_stop=None, *, ink=WHITE, paper=_DARK
) -> dict[str, np.ndarray]:
    """Draw the profile of Fig. 4 into `axis`; returns its curves by name (for a CSV)."""
    curves = {"raw": line_profile(raw, start, end, width_px)}
    if corrected is not None:
        curves["median_corrected"] = line_profile(corrected, start, end, width_px)
    if cleaned is not None:
        curves["cleaned"] = line_profile(cleaned, start, end, width_px)
    x = np.linspace(0, float(np.hypot(*np.subtract(end, start))), curves["raw"].size)
    colours = {"raw": "#8d99a6", "median_corrected": ORANGE, "cleaned": CYAN}
    for name, values in curves.items():
        axis.plot(x, values, color=colours[name], lw=0.8, label=name.replace("_", "-"))
    axis.axhline(255, color=ink, lw=0.6, ls=":")
    if beam_stop is not None:
        shadow = line_profile(beam_stop.astype(float), start, end) > 0.5
        axis.fill_between(
            x, 0, 1, where=shadow, transform=axis.get_xaxis_transform(), color=ink, alpha=0.12, lw=0
        )
    axis.set_xlim(0, x[-1])
    axis.set_xlabel("distance along the line (px)", color=ink, fontsize=8)
    axis.set_ylabel("counts", color=ink, fontsize=8)
    axis.legend(loc="upper right", fontsize=7, ncols=3, framealpha=0, labelcolor=ink)
    # A saturated spot would flatten everything else; it runs off the top instead.
    level = float(np.nanmedian(curves["raw"]))
    top = max(300.0, min(1.05 * float(np.nanmax(curves["raw"])), 3 * level))
    axis.set_ylim(min(-0.05 * top, -10.0), top)
    style_axis(axis, ink, paper)
    return {"distance_px": x, **curves}


def frame_curve(frames: np.ndarray, names: tuple[str, str] = ("A", "B")) -> Figure:
    """Numbers of spots over the projections, or over omega where it is known.

    Parameters
    ----------
    frames : structured array of `evaluation.FRAME_DTYPE`
    names : (str, str)
    """
    figure = _new_figure(10.5, 3.2)
    axis = figure.subplots()
    turning = frames.size > 0 and bool(np.isfinite(frames["omega_deg"]).all())
    x = frames["omega_deg" if turning else "frame"]
    for column, colour, text in (
        ("spots_a", CYAN, f"A: {names[0]}"),
        ("spots_b", ORANGE, f"B: {names[1]}"),
        ("both", WHITE, "both"),
    ):
        axis.plot(x, frames[column], color=colour, lw=1.2, marker=".", ms=3, label=text)
    axis.set_xlabel("rotation angle (deg)" if turning else "projection", color=WHITE, fontsize=8)
    axis.set_ylabel("spots", color=WHITE, fontsize=8)
    axis.set_ylim(bottom=0)
    axis.legend(fontsize=7, framealpha=0, labelcolor=WHITE)
    style_axis(axis)
    return figure


def distributions(
    spots_a: np.ndarray, spots_b: np.ndarray, names: tuple[str, str] = ("A", "B")
) -> Figure:
    """Histograms of spot area and SNR, like the paper's Fig. S1.

    Parameters
    ----------
    spots_a, spots_b : structured arrays of `spots.SPOT_DTYPE`
    names : (str, str)
    """
    figure = _new_figure(10.5, 3.2)
    for axis, name, text in zip(
        figure.subplots(1, 2),
        ("area_px", "snr"),
        ("area (px)", "SNR: mean above background / noise"),
    ):
        values = [t[name] for t in (spots_a, spots_b)]
        values = [v[np.isfinite(v) & (v > 0)] for v in values]
        both = np.concatenate([*values, [1.0, 2.0]])
        edges = np.geomspace(max(both.min(), 0.05), both.max() * 1.001, 41)
        for v, colour, label in zip(values, (CYAN, ORANGE), ("A: " + names[0], "B: " + names[1])):
            text_n = f"{label}, {v.size} spots"
            axis.hist(v, edges, histtype="step", color=colour, lw=1.2, label=text_n)
        axis.set_xscale("log")
        axis.set_xlabel(text, color=WHITE, fontsize=8)
        axis.set_ylabel("spots", color=WHITE, fontsize=8)
        axis.legend(fontsize=7, framealpha=0, labelcolor=WHITE)
        style_axis(axis)
    return figure


def recall_by_snr(
    bins_a: np.ndarray, bins_b: np.ndarray, names: tuple[str, str] = ("A", "B")
) -> Figure:
    """Recall, precision and F1 of A and B against a truth, in bins of SNR.

    Parameters
    ----------
    bins_a, bins_b : structured arrays of `evaluation.BIN_DTYPE`
    names : (str, str)
    """
    figure = _new_figure(10.5, 3.2)
    ticks = [snr_span(row) for row in bins_a]
    for axis, column in zip(figure.subplots(1, 3), ("recall", "precision", "f1")):
        for k, (bins, colour) in enumerate(((bins_a, CYAN), (bins_b, ORANGE))):
            x = np.arange(len(bins)) + (k - 0.5) * 0.4
            height = np.nan_to_num(bins[column])
            axis.bar(x, height, 0.38, color=colour, label=f"{'AB'[k]}: {names[k]}")
        axis.set_xticks(np.arange(len(ticks)), ticks)
        axis.set_ylim(0, 1)
        axis.set_xlabel("SNR", color=WHITE, fontsize=8)
        axis.set_ylabel({"f1": "F1"}.get(column, column), color=WHITE, fontsize=8)
        if column == "recall":
            axis.legend(fontsize=7, framealpha=0, labelcolor=WHITE)
        style_axis(axis)
        axis.tick_params(axis="x", labelsize=5.5)
    return figure


def snr_span(row: np.void) -> str:
    """The SNR of a row of `evaluation.BIN_DTYPE`: ``2–3``, or ``28+`` for the last one."""
    low, high = row["snr_from"], row["snr_to"]
    return f"{low:g}–{high:g}" if np.isfinite(high) else f"{low:g}+"


def contrast(image: np.ndarray) -> tuple[float, float]:
    """Display limits: the 0.5 and 99.8 percentiles."""
    low, high = (float(v) for v in np.percentile(image, (0.5, 99.8)))
    return low, max(high, low + 1e-6)


def spread(image: np.ndarray) -> float:
    """Robust standard deviation of an image, hardly moved by its spots."""
    thin = np.asarray(image)[::2, ::2]
    return robust_sigma(thin, floor=1e-6)


# TIFF tag 274 -> (rows turned round, columns turned round, rows and columns exchanged)
_ORIENTATIONS = {
    1: (False, False, False),
    2: (False, True, False),
    3: (True, True, False),
    4: (True, False, False),
    5: (False, False, True),
    6: (False, True, True),
    7: (True, True, True),
    8: (True, False, True),
}


def upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """An image as its TIFF Orientation tag says it should be looked at (for pictures only)."""
    rows, cols, swapped = _ORIENTATIONS.get(orientation, _ORIENTATIONS[1])
    if swapped:
        image = image.swapaxes(0, 1)
    return image[:: -1 if rows else 1, :: -1 if cols else 1]


def upright_points(points: np.ndarray, shape: tuple[int, int], orientation: int) -> np.ndarray:
    """Where stored (row, col) points ``(n, 2)`` stand in `upright` pictures of `shape` arrays."""
    rows, cols, swapped = _ORIENTATIONS.get(orientation, _ORIENTATIONS[1])
    points = np.asarray(points, float)
    if swapped:
        points, shape = points[:, ::-1], shape[::-1]
    out = points.copy()
    if rows:
        out[:, 0] = shape[0] - 1 - out[:, 0]
    if cols:
        out[:, 1] = shape[1] - 1 - out[:, 1]
    return out


def style_axis(axis, ink: str = WHITE, paper: str = _DARK) -> None:
    """Give a plot the colours of the dark figures, or of a theme's ink and paper."""
    axis.set_facecolor(paper)
    axis.tick_params(colors=ink, labelsize=7)
    for side in axis.spines.values():
        side.set_color(ink)
        side.set_linewidth(0.5)


def _new_figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=150, layout="constrained", facecolor=_DARK)


def _show(axis, image, text, options) -> None:
    axis.imshow(image, cmap="gray", interpolation="antialiased", **options)
    axis.set_title(text, color=WHITE, fontsize=9)
    axis.set_xticks([])
    axis.set_yticks([])
    for side in axis.spines.values():
        side.set_color("#4a525b")


def _rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)], np.float32) / 255


def _paint(mask: np.ndarray, colour: str) -> np.ndarray:
    return mask[..., None] * _rgb(colour)


def _agreement_picture(raw, mask_a, mask_b, limits) -> np.ndarray:
    """Agreement colours over a dim projection, RGB ``(rows, cols, 3)``."""
    low, high = limits["vmin"], limits["vmax"]
    grey = np.clip((np.asarray(raw, np.float32) - low) / (high - low), 0, 1) * 0.35
    picture = np.repeat(grey[..., None], 3, axis=2)
    where = agreement(mask_a, mask_b)
    for value, colour in enumerate((WHITE, CYAN, ORANGE), start=1):
        picture[where == value] = _rgb(colour)
    return picture
