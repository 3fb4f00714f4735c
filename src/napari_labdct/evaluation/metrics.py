"""Spots against a truth of which only those count that somebody could see.

A true spot counts if ``SNR sqrt(area)``, the significance of all its pixels together, reaches
`DETECTABLE`.  A weaker one is passed over: not to find it is no miss, to find it is no fault,
and its pixels are in no pixel IoU.  The same for every method.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ..spots.matching import Match, Score, match_spots, spot_labels
from .comparison import Against, by_snr
from .phantoms import COSMIC, STATIC

#: ``SNR sqrt(area)`` from which a true spot counts.
DETECTABLE = 4.0
#: Why a spot was missed, and what a false spot is; see `judge`.
REASONS = ("missed in the dark", "missed in a merger", "false on a cosmic ray",
           "false on static structure", "false beside a spot", "false on nothing")  # fmt: skip


@dataclass(frozen=True, eq=False)
class Truth:
    """The true spots of one projection.

    Parameters
    ----------
    labels : int array (rows, cols)
        0 or the number, from 1, of a spot.
    snr : array (n,)
        Mean signal of each over the noise sigma.
    area_px : array (n,)
    nuisance : uint8 array (rows, cols), optional
        See `testscans.MadeScan`.
    """

    labels: np.ndarray
    snr: np.ndarray
    area_px: np.ndarray
    nuisance: np.ndarray | None = None

    @property
    def counts(self) -> np.ndarray:
        """Which spots count, bool (n,)."""
        return self.snr * np.sqrt(self.area_px) >= DETECTABLE

    def crop(self, part: tuple[slice, slice]) -> Truth:
        """The truth of a window; a spot cut by its edge keeps its SNR."""
        kept = np.setdiff1d(self.labels[part], 0)
        labels, count = spot_labels(self.labels[part])
        nuisance = None if self.nuisance is None else self.nuisance[part]
        area = np.bincount(labels.ravel(), minlength=count + 1)[1:]
        return Truth(labels.astype(np.int32), self.snr[kept - 1], area, nuisance)


@dataclass(frozen=True, eq=False)
class Verdict:
    """One segmentation of one projection, judged.

    Parameters
    ----------
    against : Against
        Only spots that count, renumbered.
    spots : int array (rows, cols)
        The segmentation's spots, 1 ...
    found, missed, merged : int arrays
        True spots by their number in `Truth.labels`; `merged` are those of the missed that lie
        under a spot that found another one.
    false, excused : int arrays
        Numbers in `spots` that are on no true spot, and on one that does not count.
    reasons : dict of str to int
        How many of each of `REASONS`.
    """

    against: Against
    spots: np.ndarray
    found: np.ndarray
    missed: np.ndarray
    merged: np.ndarray
    false: np.ndarray
    excused: np.ndarray
    reasons: dict[str, int]


def judge(
    mask: np.ndarray, truth: Truth, snr_map: np.ndarray | None = None, *, why: bool = True
) -> Verdict:
    """Judge a mask or label image.

    Parameters
    ----------
    mask : array (rows, cols)
        As `spots.matching.match_spots` takes it.
    truth : Truth
    snr_map : array (rows, cols), optional
        (frame - background) / noise, which gives the segmentation's spots an SNR.
    why : bool
        Look for `REASONS`, which takes a while.
    """
    spots, count = spot_labels(np.asarray(mask))
    counts = truth.counts
    number = np.concatenate([[0], np.cumsum(counts) * counts]).astype(np.int32)
    counted = number[truth.labels]
    original = np.flatnonzero(counts) + 1
    first = match_spots(spots.astype(np.int32), counted)
    false = first.only_a
    # what is left may lie on a spot that nobody must find
    weak = np.where(counted > 0, 0, truth.labels)
    excused = np.zeros(0, int)
    if false.size and weak.any():
        keep = np.zeros(count + 1, np.int32)
        keep[false] = np.arange(1, false.size + 1)
        second = match_spots(keep[spots], weak.astype(np.int32))
        excused = false[np.unique(second.pairs[:, 0]) - 1]
        false = np.setdiff1d(false, excused)
    kept = np.setdiff1d(np.arange(1, count + 1), excused)
    renumber = np.zeros(count + 1, int)
    renumber[kept] = np.arange(1, kept.size + 1)
    free = np.zeros(count + 1, bool)
    free[excused] = True
    ignored = (weak > 0) | free[spots]
    a, b = (spots > 0) & ~ignored, counted > 0
    both = int((a & b).sum())
    pairs = np.stack([renumber[first.pairs[:, 0]], first.pairs[:, 1]], axis=1)
    match = Match(
        kept.size, original.size, pairs, renumber[first.merged], first.split,
        first.centroid_error_px, both, int(a.sum()) + int(b.sum()) - both,
    )  # fmt: skip
    snr = np.zeros(count)
    if snr_map is not None and count:
        inside = np.flatnonzero(spots)
        label = spots.ravel()[inside] - 1
        area = np.bincount(label, minlength=count)
        snr = np.bincount(label, snr_map.ravel()[inside], count) / np.maximum(area, 1)
    missed = original[first.only_b - 1]
    merged, reasons = np.zeros(0, int), dict.fromkeys(REASONS, 0)
    if why:
        merged = _covered(truth.labels, spots, missed, first.pairs[:, 0])
        numbers = (missed.size - merged.size, merged.size, *_why_false(spots, false, truth))
        reasons = dict(zip(REASONS, numbers, strict=True))
    return Verdict(
        Against(match, snr[kept - 1], truth.snr[counts]),
        spots, original[first.pairs[:, 1] - 1], missed, merged, false, excused, reasons,
    )  # fmt: skip


def _covered(labels, spots, missed: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Which of the missed spots lie at least half under spots that found another one."""
    count = int(labels.max())
    of_interest, taken = np.zeros(count + 1, bool), np.zeros(int(spots.max()) + 1, bool)
    of_interest[missed], taken[used] = True, True
    at = of_interest[labels]
    size = np.bincount(labels[at], minlength=count + 1)
    under = np.bincount(labels[at & taken[spots]], minlength=count + 1)
    return missed[under[missed] >= 0.5 * size[missed]]


def _why_false(spots: np.ndarray, false: np.ndarray, truth: Truth) -> list[int]:
    """How many false spots each of the last four of `REASONS` explains; the first wins."""
    from scipy import ndimage as ndi

    nuisance = np.zeros(spots.shape, np.uint8) if truth.nuisance is None else truth.nuisance
    near = ndi.maximum_filter(truth.labels > 0, 5)
    left = np.zeros(int(spots.max()) + 1, bool)
    left[false] = True
    out = []
    for area in (nuisance == COSMIC, nuisance == STATIC, near):
        touched = np.zeros(left.size, bool)
        touched[spots[area]] = True
        out.append(int((left & touched).sum()))
        left &= ~touched
    return [*out, int(left.sum())]


@dataclass(eq=False)
class Tally:
    """Verdicts added up over projections, and tallies over scans.

    Parameters
    ----------
    score : Score
    bins : array of `evaluation.BIN_DTYPE`
        Recall, precision and F1 in bins of SNR.
    reasons : dict of str to int
        How many of each of `REASONS`.
    passed_over : int
        Spots found where a true spot does not count.
    """

    score: Score = field(default_factory=Score)
    bins: np.ndarray = field(default_factory=lambda: by_snr([]))
    reasons: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    passed_over: int = 0

    def add(self, verdict: Verdict) -> None:
        """Take in one projection."""
        self.score += verdict.against.match
        self.bins = by_snr([verdict.against], before=[self.bins])
        self.passed_over += verdict.excused.size
        for name, number in verdict.reasons.items():
            self.reasons[name] += number

    def __add__(self, other: Tally) -> Tally:
        mine, theirs = asdict(self.score), asdict(other.score)
        return Tally(
            Score(**{name: mine[name] + theirs[name] for name in mine}),
            by_snr([], before=[self.bins, other.bins]),
            {name: self.reasons[name] + other.reasons[name] for name in REASONS},
            self.passed_over + other.passed_over,
        )

    def numbers(self) -> dict[str, float]:
        """The summary; counts are per projection."""
        s, frames = self.score, max(self.score.frames, 1)
        return {
            "frames": s.frames, "f1": s.f1, "precision": s.precision, "recall": s.recall,
            "pixel_iou": s.pixel_iou, "merged": s.merged / frames, "split": s.split / frames,
            "centroid_error_px": s.centroid_error_px, "true_spots": s.spots_b / frames,
            "spots": s.spots_a / frames, "passed_over": self.passed_over / frames,
        } | {name: number / frames for name, number in self.reasons.items()}  # fmt: skip

    @property
    def worth(self) -> float:
        """What a search looks for: F1, and a tenth of the pixel IoU between equals."""
        f1, iou = self.score.f1, self.score.pixel_iou
        return (f1 if np.isfinite(f1) else 0.0) + 0.1 * (iou if np.isfinite(iou) else 0.0)

    def to_dict(self) -> dict[str, Any]:
        """Plain values from which `from_dict` makes it again."""
        counts = ("truth", "found", "spots", "true")
        return {
            "score": asdict(self.score),
            "bins": {name: self.bins[name].tolist() for name in counts},
            "reasons": self.reasons,
            "passed_over": self.passed_over,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Tally:
        """What `to_dict` gave."""
        bins = by_snr([])
        for name, counts in values["bins"].items():
            bins[name] = counts
        return cls(
            Score(**values["score"]),
            by_snr([], before=[bins]),
            values["reasons"],
            values["passed_over"],
        )
