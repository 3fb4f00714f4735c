"""What the Review dock has done in a worker: measuring, correcting, cutting crops, exporting.

Nothing here knows Qt.  A measured scan is kept as a file of spots (table and label images)
beside the journal of its review, so a scan that is opened again needs neither the network nor
a second measuring.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...background.rolling_median import SPOT_WINDOW
from ...core.errors import LabDCTError, SettingsError
from ...core.jobs import Progress
from ...io import label_stacks, spot_tables
from ...io.coco import SparseFrames
from ...review.corrections import Edit, GrowSettings, erase, grow, merge, split
from ...review.export import spots_id, spots_recipe
from ...review.review import Review, review_path, reviews_of, with_status
from ...scan.scan import Scan
from ...spots.detections import Detections, measure_frame
from ...spots.measurement import SPOT_DTYPE, FrameMeasurer, local_background


class StoredSpots(SparseFrames):
    """The label images of a measured scan, and who found each spot."""

    def __init__(self, shape, pixels, table: np.ndarray, cleaned: Any = None) -> None:
        super().__init__(shape, pixels)
        self.cleaned = cleaned
        self._found_by: dict[int, np.ndarray] = {}
        frames, starts = np.unique(table["frame"], return_index=True)
        for frame, rows in zip(frames.tolist(), np.split(table, starts[1:])):
            codes = np.zeros(int(rows["id"].max()) + 1, np.uint8)
            codes[rows["id"]] = rows["found_by"]
            self._found_by[frame] = codes

    def labelled(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """As `Detections.labelled`."""
        return self.read(index), self._found_by.get(index, np.zeros(1, np.uint8))


@dataclass(frozen=True)
class Measured:
    """A scan's spots, ready to be looked at: what the worker hands to the dock."""

    scan: Scan
    spots: StoredSpots
    table: np.ndarray
    review: Review
    recipe: dict[str, Any]
    note: str = ""


def measure(
    scan: Scan,
    detections: Detections,
    frames: Sequence[int],
    folder: Path,
    only: int | None = None,
) -> Generator[Progress | Measured, None, None]:
    """Measure a scan, or find it measured; then find its review.

    Parameters
    ----------
    scan : Scan
    detections : Detections
    frames : sequence of int
        Projections that have spots by now.
    folder : path
        Where reviews are kept.
    only : int, optional
        Measure this projection alone. Its review is one of its own, so that measuring the whole
        stack later starts afresh and takes the decisions over.
    """
    yield Progress(0, 0, "Looking for a review")
    detections.check(scan)
    recipe = spots_recipe(scan, detections, Review(detections.shape), SPOT_WINDOW)
    if only is not None:
        frames = [only]
        recipe["settings"] = {**recipe["settings"], "only_frame": only}
    path = review_path(folder, recipe["input"]["id"], spots_id(recipe))
    if spots_path(path).exists():
        yield reopen(scan, path, detections.cleaned)
        return
    measurer = FrameMeasurer(scan, SPOT_WINDOW)
    tables, pixels = [np.zeros(0, SPOT_DTYPE)], {}
    yield Progress(0, len(frames), measurer.median.note if measurer.median else "")
    for done, index in enumerate(frames):
        labels, found_by = detections.labelled(index)
        table = measure_frame(measurer, detections, index, labelled=(labels, found_by))
        flat = np.flatnonzero(labels).astype(np.int32)
        pixels[index] = flat, labels.ravel()[flat].astype(np.int32)
        tables.append(table)
        yield Progress(done + 1, len(frames), frame=index)
    table = np.concatenate(tables)
    spots = StoredSpots(detections.shape, pixels, table, detections.cleaned)
    images = (spots[i] for i in range(len(spots)))
    folder.mkdir(parents=True, exist_ok=True)
    earlier = reviews_of(folder, recipe["input"]["id"])
    review = Review(spots.shape, path, recipe)
    spot_tables.write_hdf5(spots_path(path), with_status(table), recipe, images, spots.shape)
    note = _take_over(review, earlier, path, table)
    yield Measured(scan, spots, table, review, recipe, note or review.note)


def spots_path(review: Path) -> Path:
    """The file of spots beside a review's journal."""
    return review.with_name(review.name.removesuffix(".review.jsonl") + ".spots.h5")


def _take_over(review: Review, earlier: Sequence[Path], own: Path, table: np.ndarray) -> str:
    """Decisions of the latest earlier review of the same scan, if this one is new."""
    earlier = [p for p in earlier if p != own and spots_path(p).exists()]
    if review.undo_name or own.exists() or not earlier:
        return ""
    used = []
    for path in earlier:  # the latest first: frames measured alone, then the last whole stack
        try:
            old_table, recipe = spot_tables.read_table(spots_path(path), SPOT_DTYPE)
            used.append((Review(review.shape, path), old_table))
        except LabDCTError:
            continue  # an unreadable old review must not stop a new one
        if "only_frame" not in recipe["settings"]:
            break
    keys = set()
    for old, old_table in reversed(used):  # so that the latest decision counts
        command = review.carry_over(old, old_table, table)
        keys |= set() if command is None else {tuple(key) for key in command.keys}
    if not keys:
        return ""
    return f"{len(keys)} decisions were taken over from an earlier review of this scan."


def find_review(
    scan: Scan, folder: Path, cleaned: Any = None
) -> Generator[Progress | Measured, None, None]:
    """The latest review of a scan that was opened again, if there is one."""
    yield Progress(0, 0, "Looking for a review")
    for path in reviews_of(folder, scan.identity()):
        if spots_path(path).exists():
            yield reopen(scan, path, cleaned)
            return


def reopen(scan: Scan, path: Path, cleaned: Any = None) -> Measured:
    """A measured scan and its review, from their files."""
    table, recipe = spot_tables.read_table(spots_path(path), SPOT_DTYPE)
    stored = label_stacks.read_labels(spots_path(path))
    if stored.shape != (scan.n_frames, *scan.shape):
        raise SettingsError(f"{spots_path(path).name} belongs to another scan; delete it.")
    spots = StoredSpots(stored.shape, stored.pixels, table, cleaned)
    review = Review(stored.shape, path, recipe)
    if review.corrected:
        measurer = FrameMeasurer(scan, SPOT_WINDOW)
        tables = [table[~np.isin(table["frame"], review.corrected)]]
        for index in review.corrected:
            labels = review.labels(index, spots)
            tables.append(measure_frame(measurer, spots, index, labels))
        known, table = table, np.concatenate(tables)
        table = table[np.lexsort((table["id"], table["frame"]))]
        if cleaned is None:
            _recall_confidence(table, known)
    return Measured(scan, spots, table, review, recipe, review.note)


def _recall_confidence(table: np.ndarray, known: np.ndarray) -> None:
    """Confidence of spots that are as they were measured first, with the network's output."""
    same = ["frame", "id", "area_px", "row_min", "row_max", "col_min", "col_max"]
    before = {tuple(row): value for row, value in zip(known[same].tolist(), known["confidence"])}
    for at in np.flatnonzero(np.isnan(table["confidence"])):
        table["confidence"][at] = before.get(tuple(table[same][at].tolist()), np.nan)


@dataclass(frozen=True)
class Corrected:
    """An edit and the rows of the projection it leads to."""

    frame: int
    change: Edit | None
    labels: np.ndarray | None
    rows: np.ndarray
    name: str = ""
    accept: tuple[int, ...] = ()
    select: int = 0


class Corrector:
    """Makes edits of one projection and measures it again; used by one worker at a time.

    Parameters
    ----------
    measured : Measured
    """

    def __init__(self, measured: Measured) -> None:
        self._spots = measured.spots
        self._review = measured.review
        self._scan = measured.scan
        self._measurer = FrameMeasurer(measured.scan, SPOT_WINDOW)

    def rows(self, frame: int, labels: np.ndarray | None = None) -> np.ndarray:
        """The table of a projection with its corrections."""
        if labels is None:
            labels = self._review.labels(frame, self._spots)
        return measure_frame(self._measurer, self._spots, frame, labels)

    def again(self, frame: int) -> Corrected:
        """Measure a projection after an undo."""
        return Corrected(frame, None, None, self.rows(frame))

    def painted(self, frame: int, index: np.ndarray, ids: np.ndarray) -> Corrected:
        """Pixels drawn with the brush."""
        from ...review.corrections import edit

        labels = self._labels(frame)
        change = edit(labels, index, ids)
        drawn = np.setdiff1d(change.ids, [0])
        new = tuple(int(i) for i in drawn if not np.any(labels == i))
        gone = not drawn.size
        return self._made(frame, labels, change, "erase pixels" if gone else "paint", new)

    def erase(self, frame: int, ids: Sequence[int]) -> Corrected:
        """Remove spots altogether."""
        labels = self._labels(frame)
        name = f"erase {len(ids)} spot{'s' if len(ids) != 1 else ''}"
        return self._made(frame, labels, erase(labels, list(ids)), name)

    def merge(self, frame: int, ids: Sequence[int]) -> Corrected:
        """Make one spot of several."""
        labels = self._labels(frame)
        name = f"merge {len(ids)} spots"
        return self._made(frame, labels, merge(labels, ids), name, select=min(ids))

    def split(self, frame: int, spot: int, parts: int = 2) -> Corrected:
        """Cut a spot by a watershed."""
        labels = self._labels(frame)
        new = self._review.next_id(frame, labels)
        change = split(labels, spot, self._scan.frame(frame), new, parts)
        return self._made(frame, labels, change, f"split spot {spot}", select=spot)

    def grow(self, frame: int, point: tuple[int, int], settings: GrowSettings) -> Corrected:
        """Add a spot by a click."""
        labels = self._labels(frame)
        new = self._review.next_id(frame, labels)
        image = self._scan.frame(frame)
        background = local_background(image, self._measurer.background(frame), labels > 0)
        change = grow(labels, image, background, point, new, settings)
        return self._made(frame, labels, change, f"add spot {new}", (new,), new)

    def replace(self, frame: int, labels: np.ndarray) -> Corrected:
        """Another label image altogether, from a file."""
        present = self._labels(frame)
        labels = _renumbered(labels, present, self._review.next_id(frame, present))
        at = np.flatnonzero(present != labels)
        change = Edit(at, labels.ravel()[at].astype(np.int32))
        return self._made(frame, present, change, f"import spots of projection {frame}")

    def _labels(self, frame: int) -> np.ndarray:
        return self._review.labels(frame, self._spots)

    def _made(self, frame, labels, change, name, accept=(), select=0) -> Corrected:
        after = labels.copy()
        after.ravel()[change.index] = change.ids
        rows = self.rows(frame, after)
        return Corrected(frame, change, labels, rows, name, accept, select)


def _renumbered(labels: np.ndarray, present: np.ndarray, next_id: int) -> np.ndarray:
    """Imported labels under the ids of the present spots they cover most, else under new ids."""
    both = (labels > 0) & (present > 0)
    pairs, shared = np.unique(np.stack([labels[both], present[both]]), axis=1, return_counts=True)
    target: dict[int, int] = {}
    for k in np.argsort(-shared, kind="stable"):
        theirs, ours = (int(i) for i in pairs[:, k])
        if theirs not in target and ours not in target.values():
            target[theirs] = ours
    ids = np.unique(labels[labels > 0])
    new = np.zeros(int(ids.max(initial=0)) + 1, np.int32)
    for spot in ids.tolist():
        if spot not in target:
            target[spot] = next_id
            next_id += 1
        new[spot] = target[spot]
    return new[labels]


def correct(make: Callable[[], Corrected]) -> Generator[Progress | Corrected, None, None]:
    """One correction in a worker."""
    yield Progress(0, 0, "Correcting")
    yield make()


# ---------------------------------------------------------------------------- crops

CROP_PX = 33


@dataclass(frozen=True)
class Crop:
    """One spot seen three ways, uint8 ``(CROP_PX, 3 CROP_PX)``: raw, cleaned, mask."""

    key: tuple[int, int]
    image: np.ndarray


def crops(measured: Measured, rows: np.ndarray) -> Generator[Progress | list[Crop], None, None]:
    """Crops of some spots, frame by frame, so that each projection is read once.

    Parameters
    ----------
    measured : Measured
    rows : structured array
        Rows of the spot table.
    """
    yield Progress(0, 0, "Cutting crops")
    for frame in np.unique(rows["frame"]).tolist():
        here = rows[rows["frame"] == frame]
        raw = measured.scan.frame(frame)
        cleaned = measured.spots.cleaned
        cleaned = None if cleaned is None else np.asarray(cleaned[frame])
        labels = measured.review.labels(frame, measured.spots)
        yield [_crop(spot, raw, cleaned, labels) for spot in here]


def _crop(spot: np.void, raw, cleaned, labels) -> Crop:
    centre = [(int(spot[f"{a}_min"]) + int(spot[f"{a}_max"])) // 2 for a in ("row", "col")]
    light = _cut(raw, centre).astype(np.float32)
    around = light[light > 0] if np.any(light > 0) else light
    # the spot's own peak, or the surroundings', whichever is higher; a hot neighbour may burn out
    low, middle = (float(v) for v in np.percentile(around, (2, 50)))
    inner = CROP_PX // 2
    near = light[inner - 4 : inner + 5, inner - 4 : inner + 5]
    high = max(float(near.max()), middle + 6 * float(spot["noise"]))
    light = np.clip((light - low) / max(high - low, 1e-6), 0, 1) * 255
    own = _cut(labels, centre)
    mask = np.where(own == spot["id"], 255, np.where(own > 0, 90, 0))
    network = np.zeros_like(own) if cleaned is None else _cut(cleaned, centre)
    image = np.concatenate([light, network, mask], axis=1).astype(np.uint8)
    return Crop((int(spot["frame"]), int(spot["id"])), image)


def _cut(image: np.ndarray, centre: Sequence[int]) -> np.ndarray:
    """A square around a point, zeros outside the image."""
    half = CROP_PX // 2
    out = np.zeros((CROP_PX, CROP_PX), image.dtype)
    spans = [(max(0, c - half), min(n, c + half + 1)) for c, n in zip(centre, image.shape)]
    to = tuple(slice(a - c + half, b - c + half) for (a, b), c in zip(spans, centre))
    out[to] = image[tuple(slice(a, b) for a, b in spans)]
    return out


@dataclass(frozen=True)
class Rings:
    """Where the spots of each hkl family begin: centre (row, col) and radii, pixels."""

    centre: tuple[float, float]
    radii_px: dict[str, float]


def rings(scan: Scan) -> Generator[Progress | Rings, None, None]:
    """Rings of the first families, if geometry and material are known."""
    from ...review.selection import family_rings

    yield Progress(0, 0, "Looking up the crystal")
    try:
        yield Rings(*family_rings(scan))
    except LabDCTError:
        yield Rings((0.0, 0.0), {})  # the plot does without
