"""Two segmentations of a scan, or each of them against a truth, projection by projection.

`compare` is the one place where the numbers come from that the Compare dock shows, that
``labdct compare`` writes and that a report prints.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..background.noise import noise_map
from ..background.rolling_median import SPOT_WINDOW, RollingMedian
from ..core.errors import ScanError, reason
from ..core.files import write_atomically
from ..core.reading import check_regular
from ..core.recipes import recipe_beside
from ..io import write_spot_csv
from ..scan.detector_mask import either
from ..scan.scan import Scan
from ..spots.binarisation import BINARISED, BinaryFrames, SpotSettings
from ..spots.matching import Match, Score, match_spots, spot_labels
from ..spots.measurement import local_background, measure, spot_pixels
from ..spots.stacks import fit

#: Edges of the SNR bins in which recall and precision are given.
SNR_EDGES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0, 28.0, np.inf)
#: A pixel this many noise sigmas above its background, outside all spots, is unexplained.
BRIGHT_SIGMA = 5.0

FRAME_DTYPE = np.dtype(
    [
        ("frame", "i4"),
        ("omega_deg", "f4"),
        ("spots_a", "i4"),
        ("spots_b", "i4"),
        ("both", "i4"),
        ("only_a", "i4"),
        ("only_b", "i4"),
        ("merged", "i4"),
        ("split", "i4"),
        ("pixel_iou", "f4"),
        ("unexplained_a", "i4"),
        ("unexplained_b", "i4"),
    ]
)

BIN_DTYPE = np.dtype(
    [
        ("snr_from", "f4"),
        ("snr_to", "f4"),
        ("truth", "i4"),
        ("found", "i4"),
        ("spots", "i4"),
        ("true", "i4"),
        ("recall", "f4"),
        ("precision", "f4"),
        ("f1", "f4"),
    ]
)


@dataclass(frozen=True)
class Segmentation:
    """One way of finding spots: masks of a whole scan, and how they came about.

    Parameters
    ----------
    name : str
    masks : array-like (n, rows, cols)
        Non-zero is spot; a coarser stack is enlarged to the projections.
    recipe : dict
        What made it, as `core.recipes.recipe` gives it; empty if nobody knows.
    cleaned : array-like (n, rows, cols), optional
        The network output the masks were cut from, for pictures.
    """

    name: str
    masks: Any
    recipe: dict[str, Any] = field(default_factory=dict)
    cleaned: Any = None

    def mask(self, index: int, shape: tuple[int, int]) -> np.ndarray:
        """Spots of projection `index` at the size of the projection, bool ``(rows, cols)``."""
        return fit(spot_pixels(self.masks[index]).view(np.uint8), shape) > 0

    def check(self, scan: Scan) -> None:
        """Refuse masks of another scan.

        Raises
        ------
        ScanError
            The number of projections differs.
        """
        count = self.masks.shape[0] if len(self.masks.shape) == 3 else 0
        if count != scan.n_frames:
            raise ScanError(
                f"'{self.name}' has shape {tuple(self.masks.shape)}, but the scan has "
                f"{scan.n_frames} projections; choose the masks of this scan."
            )


def open_segmentation(path: str | Path, cut: SpotSettings | None = None) -> Segmentation:
    """A segmentation from a TIFF stack: ours with its recipe, or any binary stack.

    A cleaned stack of `denoising` or `tracking` (its sidecar says so) is cut with `cut`; in every
    other file, such as the binary stacks of GrainMapper3D or GrainRecon, non-zero is spot.

    Parameters
    ----------
    path : path
        A TIFF, or a folder of them in natural order.
    cut : SpotSettings, optional
        Threshold and minimum spot size for cleaned stacks; the threshold of the model that made
        them if not given.

    Raises
    ------
    ScanError
        It is no such file.
    """
    from ..io import open_scan

    path = Path(path)
    frames = open_scan(path).frames
    made = recipe_beside(path)
    if made.get("job") in ("denoise", "track"):
        model = made.get("model", {})
        cut = cut or SpotSettings().replace(threshold=int(model.get("threshold", 128)))
        made = {**made, BINARISED: cut.to_dict()}
        return Segmentation(path.stem, BinaryFrames(frames, cut), made, frames)
    return Segmentation(path.stem, frames, made)


@dataclass(frozen=True)
class Against:
    """One segmentation of one projection against a truth, with the SNR of every spot.

    Parameters
    ----------
    match : Match
        A is the segmentation, B the truth.
    snr : array (n_a,)
        SNR of the segmentation's spots.
    truth_snr : array (n_b,)
        SNR of the true spots.
    """

    match: Match
    snr: np.ndarray
    truth_snr: np.ndarray


@dataclass(frozen=True)
class FrameResult:
    """What `compare` says of one projection.

    Parameters
    ----------
    frame, omega_deg : int, float
    match : Match
        A against B.
    spots_a, spots_b : structured arrays of `spots.SPOT_DTYPE`
        In the order of the labels in `match`.
    unexplained_a, unexplained_b : int
        Bright pixels outside the spots, see `matching.unexplained`.
    truth_a, truth_b : Against, optional
    """

    frame: int
    omega_deg: float
    match: Match
    spots_a: np.ndarray
    spots_b: np.ndarray
    unexplained_a: int
    unexplained_b: int
    truth_a: Against | None = None
    truth_b: Against | None = None

    @property
    def row(self) -> tuple:
        """The numbers of this projection in the order of `FRAME_DTYPE`."""
        m = self.match
        iou = m.pixels_both / m.pixels_either if m.pixels_either else np.nan
        return (
            self.frame, self.omega_deg, m.n_a, m.n_b, m.found, len(m.only_a), len(m.only_b),
            len(m.merged), len(m.split), iou, self.unexplained_a, self.unexplained_b,
        )  # fmt: skip


def compare(
    scan: Scan,
    a: Segmentation,
    b: Segmentation,
    truth: Segmentation | None = None,
    *,
    median_window: int = SPOT_WINDOW,
    median: Any = None,
    frames: Iterable[int] | None = None,
) -> Iterator[FrameResult]:
    """Compare two segmentations of a scan; yields one `FrameResult` a projection.

    Parameters
    ----------
    scan : Scan
    a, b : Segmentation
    truth : Segmentation, optional
        Masks, or label images (one value a spot) in which touching spots are apart.
    median_window : int
        Rolling median taken as background when spots are measured.
    median : optional
        That median with ``at``, if the caller has it, such as a `medians.StoredMedian`.
    frames : iterable of int, optional
        All if not given.

    Raises
    ------
    ScanError
        The masks are of another scan.
    """
    for part in (a, b, truth):
        if part is not None:
            part.check(scan)
    if median is None and scan.n_frames >= 3:
        median = RollingMedian(scan, median_window)
    stop = scan.hidden()
    for index in range(scan.n_frames) if frames is None else frames:
        yield compare_frame(
            scan,
            index,
            a.mask(index, scan.shape),
            b.mask(index, scan.shape),
            None if truth is None else fit(np.asarray(truth.masks[index]), scan.shape),
            background=None if median is None else median.at(index),
            beam_stop=stop,
        )


def compare_frame(
    scan: Scan,
    index: int,
    mask_a: np.ndarray,
    mask_b: np.ndarray,
    truth: np.ndarray | None = None,
    *,
    background: np.ndarray | None = None,
    beam_stop: np.ndarray | None = None,
) -> FrameResult:
    """Compare two masks of one projection; see `compare`."""
    reading = scan.reading(index)
    frame = reading.image
    beam_stop = either(beam_stop, reading.left_out)
    omega = float("nan") if scan.omega_deg is None else float(scan.omega_deg[index])
    given = {"background": background, "index": index, "omega_deg": omega, "beam_stop": beam_stop}
    tables = [measure(frame, mask, **given) for mask in (mask_a, mask_b)]
    # one background and noise for both, so that equal pixels count equally
    ground = local_background(frame, background, mask_a | mask_b)
    noise = noise_map(frame, ground)
    bright = frame - ground > np.float32(BRIGHT_SIGMA) * noise
    if beam_stop is not None:
        bright &= ~beam_stop
    against: list[Against | None] = [None, None]
    if truth is not None:
        true_snr = label_snr(truth, frame, ground, noise)
        against = [
            Against(match_spots(mask, truth), table["snr"].copy(), true_snr)
            for mask, table in zip((mask_a, mask_b), tables)
        ]
    return FrameResult(
        index,
        omega,
        match_spots(mask_a, mask_b),
        *tables,
        int((bright & ~mask_a).sum()),
        int((bright & ~mask_b).sum()),
        *against,
    )


def label_snr(labels, frame, background, noise) -> np.ndarray:
    """SNR of every spot of a mask or label image, in the order `match_spots` numbers them."""
    labels, count = spot_labels(np.asarray(labels))
    inside = np.flatnonzero(labels)
    label = labels.ravel()[inside] - 1
    signal = frame.ravel()[inside] - background.ravel()[inside].astype(np.float64)
    area = np.maximum(np.bincount(label, minlength=count), 1)
    sigma = np.bincount(label, noise.ravel()[inside], count) / area
    return np.bincount(label, signal, count) / area / np.maximum(sigma, 1e-12)


def by_snr(
    against: Iterable[Against],
    edges: Sequence[float] = SNR_EDGES,
    before: Iterable[np.ndarray] = (),
) -> np.ndarray:
    """Recall, precision and F1 in bins of SNR, rows of `BIN_DTYPE`.

    Recall bins the true spots by their own SNR, precision the spots found by theirs; tables
    made `before` are added.
    """
    table = np.zeros(len(edges) - 1, BIN_DTYPE)
    table["snr_from"], table["snr_to"] = edges[:-1], edges[1:]
    for counted in before:
        for name in ("truth", "found", "spots", "true"):
            table[name] += counted[name]
    for one in against:
        for snr, column, all_, hit in (
            (one.truth_snr, 1, "truth", "found"),
            (one.snr, 0, "spots", "true"),
        ):
            # spots fainter than nothing belong to the faintest bin
            at = np.clip(np.digitize(snr, edges) - 1, 0, len(edges) - 2)
            table[all_] += np.bincount(at, minlength=len(table)).astype("i4")
            paired = at[one.match.pairs[:, column] - 1]
            table[hit] += np.bincount(paired, minlength=len(table)).astype("i4")
    table["recall"] = _ratio(table["found"], table["truth"])
    table["precision"] = _ratio(table["true"], table["spots"])
    recall, precision = table["recall"], table["precision"]
    table["f1"] = _ratio(2 * recall * precision, recall + precision)
    return table


class Comparison:
    """Everything `compare` said of a scan so far; `add` results in any order.

    Parameters
    ----------
    names : (str, str)
        What A and B are called.
    """

    def __init__(self, names: Sequence[str] = ("A", "B")) -> None:
        self.names = tuple(names)
        self.results: dict[int, FrameResult] = {}

    def add(self, result: FrameResult) -> None:
        """Take in one projection; a projection that comes again replaces its old numbers."""
        self.results[result.frame] = result

    @property
    def frames(self) -> np.ndarray:
        """One row of `FRAME_DTYPE` a projection, in order."""
        rows = [self.results[i].row for i in sorted(self.results)]
        return np.array(rows, FRAME_DTYPE)

    @property
    def score(self) -> Score:
        """A against B over all projections (B is the reference)."""
        return sum((r.match for r in self._ordered()), Score())

    @property
    def has_truth(self) -> bool:
        return any(r.truth_a is not None for r in self.results.values())

    def truth_score(self, which: str) -> Score:
        """A or B (``"a"``, ``"b"``) against the truth."""
        return sum((t.match for t in self._against(which)), Score())

    def spots(self, which: str) -> np.ndarray:
        """All spots of A or B; `spots.SPOT_DTYPE` and whether the other one has it too."""
        tables = []
        for result in self._ordered():
            table = result.spots_a if which == "a" else result.spots_b
            partner = np.zeros(table.size, bool)
            partner[result.match.pairs[:, "ab".index(which)] - 1] = True
            wide = np.zeros(table.size, [*table.dtype.descr, ("in_both", "?")])
            for name in table.dtype.names:
                wide[name] = table[name]
            wide["in_both"] = partner
            tables.append(wide)
        return np.concatenate(tables) if tables else np.zeros(0)

    def by_snr(self, which: str, edges: Sequence[float] = SNR_EDGES) -> np.ndarray:
        """Recall, precision and F1 of A or B in bins of SNR; see `by_snr`."""
        return by_snr(self._against(which), edges)

    def numbers(self) -> dict[str, float]:
        """The summary: what the strip in the dock, the report and the CSV all show."""
        score, per_frame = self.score, self.frames
        out: dict[str, float] = {
            "frames": score.frames,
            "spots_a": score.spots_a,
            "spots_b": score.spots_b,
            "both": score.found,
            "only_a": score.spots_a - score.found,
            "only_b": score.spots_b - score.found,
            "merged": score.merged,
            "split": score.split,
            "agreement_f1": score.f1,
            "pixel_iou": score.pixel_iou,
            "centroid_error_px": score.centroid_error_px,
            "unexplained_a": int(per_frame["unexplained_a"].sum()),
            "unexplained_b": int(per_frame["unexplained_b"].sum()),
        }
        for which in "ab":
            spots = self.spots(which)
            for name in ("area_px", "snr"):
                values = spots[name] if spots.size else np.array([np.nan])
                out[f"median_{name}_{which}"] = float(np.median(values))
        for which in "ab" if self.has_truth else "":
            truth = self.truth_score(which)
            for name in ("precision", "recall", "f1", "pixel_iou", "centroid_error_px"):
                out[f"{name}_{which}_truth"] = getattr(truth, name)
            for name in ("merged", "split"):
                out[f"{name}_{which}_truth"] = getattr(truth, name)
        return out

    def worst_first(self, which: str = "a") -> np.ndarray:
        """Projections ordered by their unexplained bright pixels, most first."""
        table = self.frames
        return table["frame"][np.argsort(-table[f"unexplained_{which}"], kind="stable")]

    def write_csv(self, folder: str | Path) -> list[Path]:
        """Write ``summary``, ``frames``, ``spots_a``, ``spots_b`` (and ``snr_*``) ``.csv``.

        Raises
        ------
        OutputError
            The folder cannot be written.
        """
        folder = Path(folder)
        written = [write_spot_csv(folder / "frames.csv", [self.frames])]
        for which in "ab":
            written.append(write_spot_csv(folder / f"spots_{which}.csv", [self.spots(which)]))
            if self.has_truth:
                path = folder / f"snr_{which}.csv"
                written.append(write_spot_csv(path, [self.by_snr(which)]))
        lines = [f"{name},{value:.6g}" for name, value in self.numbers().items()]
        write_atomically(folder / "summary.csv", "\n".join(["quantity,value", *lines]) + "\n")
        return [folder / "summary.csv", *written]

    def _ordered(self) -> list[FrameResult]:
        return [self.results[i] for i in sorted(self.results)]

    def _against(self, which: str) -> list[Against]:
        found = [r.truth_a if which == "a" else r.truth_b for r in self._ordered()]
        return [one for one in found if one is not None]


def read_numbers(path: str | Path) -> dict[str, float]:
    """The numbers of a ``summary.csv`` written by `Comparison.write_csv`."""
    path = Path(path)
    check_regular(path)
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return {row["quantity"]: float(row["value"]) for row in csv.DictReader(file)}
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, TypeError, ValueError) as error:
        raise ScanError(
            f"{path} is no table of numbers that a comparison wrote ({reason(error)})."
        ) from error


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    whole = np.asarray(whole, float)
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
