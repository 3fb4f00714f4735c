"""Classical ways of finding spots, against which a network must prove itself.

Each takes a projection and its rolling median and is tuned by the same random search
(`tune`).  From the paper's own routine to what a careful person would do today:

- ``routine``: rolling median and LoG in counts, as in the paper.
- ``routine+``: the same, which may follow the source's drift and remove cosmic rays.
- ``logz``: the same on the residual less its local background, in units of the local noise.
- ``cc``: that residual, slightly smoothed, above a threshold; each component is cut at a
  percentage of its own maximum; small ones are dropped.
- ``matched``: without cosmic rays, correlated with a Gaussian as large as a spot; what stands
  out is cut at a percentage of its maximum, and split between its maxima if that helps.
- ``blob_dog``: scikit-image's difference of Gaussians; a spot is a disc.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any

import numpy as np

from ..background.noise import block_median, noise_map
from ..core.parameters import Param, Settings
from ..spots.log_routine import RoutineSettings, corrected, log_segment
from .metrics import Tally, Truth, judge


@dataclass(eq=False)
class Projection:
    """What every method sees of one projection; what many of them need is computed once.

    Parameters
    ----------
    frame, median : arrays (rows, cols)
        Counts.
    beam_stop : bool array (rows, cols)
        Where no spot can be.
    spot_width_px : float
        Of the whole scan, see `networks.spot_width`; 0 if not measured.
    spot_area_px : float
        Of the whole scan, see `networks.evidence.spot_area`; 0 if not measured.
    """

    frame: np.ndarray
    median: np.ndarray
    beam_stop: np.ndarray
    spot_width_px: float = 0.0
    spot_area_px: float = 0.0
    _residuals: dict[tuple[bool, bool], np.ndarray] = field(default_factory=dict)
    _in_noise: dict[bool, np.ndarray] = field(default_factory=dict)

    @cached_property
    def noise(self) -> np.ndarray:
        """Local noise sigma, counts (rows, cols)."""
        return noise_map(self.frame, self.median)

    def residual(self, follow_drift: bool, remove_cosmic_rays: bool) -> np.ndarray:
        """Projection without its rolling median, counts (rows, cols)."""
        key = follow_drift, remove_cosmic_rays
        if key not in self._residuals:
            settings = RoutineSettings(
                follow_drift=follow_drift, remove_cosmic_rays=remove_cosmic_rays
            )
            self._residuals[key] = corrected(self.frame, self.median, settings)
        return self._residuals[key]

    def in_noise(self, remove_cosmic_rays: bool = False) -> np.ndarray:
        """The residual less its own local background, in units of the local noise (rows, cols)."""
        if remove_cosmic_rays not in self._in_noise:
            residual = self.residual(True, remove_cosmic_rays)
            ground = block_median(residual, ~self.beam_stop, block_px=64)
            self._in_noise[remove_cosmic_rays] = (residual - ground) / self.noise
        return self._in_noise[remove_cosmic_rays]

    def crop(self, part: tuple[slice, slice]) -> Projection:
        """A window; its residuals are those of the whole projection."""
        small = Projection(
            self.frame[part],
            self.median[part],
            self.beam_stop[part],
            self.spot_width_px,
            self.spot_area_px,
        )
        small.noise = self.noise[part]
        for cosmic in (False, True):
            for drift in (False, True):
                small._residuals[drift, cosmic] = _cut(self.residual(drift, cosmic), part)
            small._in_noise[cosmic] = _cut(self.in_noise(cosmic), part)
        return small


def _cut(image: np.ndarray, part: tuple[slice, slice]) -> np.ndarray:
    return np.ascontiguousarray(image[part])


@dataclass(frozen=True, kw_only=True)
class CutSettings(Settings):
    """Of the peers ``cc`` and ``matched``."""

    job = "peer"

    smooth_px: Annotated[float, Param("Gaussian SD", "px", 0.2, 10)] = 0.74
    threshold: Annotated[float, Param("Threshold", "sigma", 0, 100, help="Of the smoothed.")] = 4.0
    percentage: Annotated[float, Param("Percentage", "%", 0, 100)] = 28.0
    min_size_px: Annotated[int, Param("Minimum spot size", "px", 1, 10000)] = 4
    remove_cosmic_rays: Annotated[bool, Param("Remove cosmic rays")] = True
    split: Annotated[bool, Param("Split between maxima")] = False


@dataclass(frozen=True, kw_only=True)
class BlobSettings(Settings):
    """Of the peer ``blob_dog``."""

    job = "peer"

    min_sigma: Annotated[float, Param("Smallest Gaussian SD", "px", 0.3, 10)] = 1.0
    max_sigma: Annotated[float, Param("Largest Gaussian SD", "px", 0.3, 30)] = 4.0
    threshold: Annotated[float, Param("Threshold", "sigma", 0.01, 100)] = 1.0
    radius: Annotated[float, Param("Radius of a disc", "SD", 0.3, 4)] = 1.4
    remove_cosmic_rays: Annotated[bool, Param("Remove cosmic rays")] = True


def segment_routine(projection: Projection, settings: RoutineSettings) -> np.ndarray:
    """The paper's routine; bool (rows, cols)."""
    residual = projection.residual(settings.follow_drift, settings.remove_cosmic_rays)
    return log_segment(residual, settings, projection.beam_stop)


def segment_logz(projection: Projection, settings: RoutineSettings) -> np.ndarray:
    """The routine in noise units; its background value is in sigma."""
    z = projection.in_noise(settings.remove_cosmic_rays)
    return log_segment(z, settings, projection.beam_stop)


def segment_cut(projection: Projection, settings: CutSettings) -> np.ndarray:
    """``cc`` and ``matched``: labels int32 (rows, cols) if split, else bool."""
    from scipy import ndimage as ndi

    from ..core import kernels

    z = projection.in_noise(settings.remove_cosmic_rays)
    response = ndi.gaussian_filter(z, settings.smooth_px, truncate=3.0).astype(np.float32)
    response /= _white_noise_after(settings.smooth_px)
    mask = (response > settings.threshold) & ~projection.beam_stop
    labels = np.empty(mask.shape, np.int32)
    kernels.drop_small(mask, settings.min_size_px, labels)
    part = np.float32(settings.percentage / 100)
    if not settings.split:
        kernels.cut_at_part_of_peak(mask, response, part, labels)
        kernels.drop_small(mask, settings.min_size_px, labels)
        return mask
    owner = _basins(response, mask)
    peak = ndi.maximum(response, owner, np.arange(owner.max() + 1))
    owner[response <= part * np.asarray(peak)[owner]] = 0
    small = np.bincount(owner.ravel()) < settings.min_size_px
    owner[small[owner]] = 0
    return owner


def _basins(response: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Every pixel of a mask with the number of the local maximum it leads to."""
    from scipy import ndimage as ndi
    from skimage.segmentation import watershed

    top = (response == ndi.maximum_filter(response, 3)) & mask
    markers, _ = ndi.label(top, np.ones((3, 3)))
    return watershed(-response, markers, mask=mask).astype(np.int32)


def _white_noise_after(smooth_px: float) -> float:
    """Sigma that a Gaussian leaves of white noise of sigma 1."""
    x = np.arange(-int(3.0 * smooth_px + 0.5), int(3.0 * smooth_px + 0.5) + 1)
    taps = np.exp(-0.5 * (x / smooth_px) ** 2)
    taps /= taps.sum()
    return float((taps**2).sum())


def segment_blobs(projection: Projection, settings: BlobSettings) -> np.ndarray:
    """``blob_dog``; labels int32 (rows, cols)."""
    from skimage.feature import blob_dog

    z = projection.in_noise(settings.remove_cosmic_rays)
    blobs = blob_dog(
        np.where(projection.beam_stop, 0, z),
        min_sigma=settings.min_sigma,
        max_sigma=max(settings.max_sigma, settings.min_sigma),
        threshold=settings.threshold,
    )
    labels = np.zeros(z.shape, np.int32)
    for number, (row, col, sigma) in enumerate(blobs, 1):
        reach = settings.radius * sigma
        r = np.arange(max(int(row - reach), 0), min(int(row + reach) + 2, z.shape[0]))
        c = np.arange(max(int(col - reach), 0), min(int(col + reach) + 2, z.shape[1]))
        disc = (r[:, None] - row) ** 2 + (c - col) ** 2 <= reach**2
        labels[r[0] : r[-1] + 1, c[0] : c[-1] + 1][disc] = number
    labels[projection.beam_stop] = 0
    return labels


Draw = Callable[[np.random.Generator, float], Settings]


@dataclass(frozen=True)
class Peer:
    """A way of finding spots, and where to look for its best settings.

    Parameters
    ----------
    name : str
    settings : type
    segment : callable (Projection, Settings) -> array (rows, cols)
    draw : callable (rng, noise) -> Settings
        Random settings; `noise` is the noise sigma of the scan in counts.
    """

    name: str
    settings: type[Settings]
    segment: Callable[[Projection, Any], np.ndarray]
    draw: Draw


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return float(f"{np.exp(rng.uniform(np.log(low), np.log(high))):.3g}")


def _draw_log(rng: np.random.Generator, noise: float, helped: bool) -> RoutineSettings:
    drift, cosmic = rng.random(2) < 0.5
    return RoutineSettings(
        background=round(float(rng.uniform(0, 4) * noise), 2),
        sigma_px=_between(rng, 0.6, 4),
        percentage=round(float(rng.uniform(0, 60)), 1),
        min_size_px=int(rng.choice([2, 3, 4, 5, 7, 10])),
        follow_drift=bool(drift and helped),
        remove_cosmic_rays=bool(cosmic and helped),
    )


def _draw_cc(rng: np.random.Generator, noise: float) -> CutSettings:
    return CutSettings(
        smooth_px=_between(rng, 0.4, 1.2),
        threshold=_between(rng, 2.5, 8),
        percentage=round(float(rng.uniform(0, 60)), 1),
        min_size_px=int(rng.choice([2, 3, 4, 5, 7, 10])),
        remove_cosmic_rays=bool(rng.random() < 0.7),
    )


def _draw_matched(rng: np.random.Generator, noise: float) -> CutSettings:
    return CutSettings(
        smooth_px=_between(rng, 0.8, 3),
        threshold=_between(rng, 3, 8),
        percentage=round(float(rng.uniform(0, 60)), 1),
        min_size_px=int(rng.choice([1, 2, 3, 4, 5])),
        split=bool(rng.random() < 0.5),
    )


def _draw_blobs(rng: np.random.Generator, noise: float) -> BlobSettings:
    small = _between(rng, 0.6, 2)
    return BlobSettings(
        min_sigma=small,
        max_sigma=small * _between(rng, 1, 5),
        threshold=_between(rng, 0.6, 4),
        radius=_between(rng, 0.8, 2.2),
        remove_cosmic_rays=bool(rng.random() < 0.8),
    )


PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer("routine", RoutineSettings, segment_routine, lambda r, n: _draw_log(r, n, False)),
        Peer("routine+", RoutineSettings, segment_routine, lambda r, n: _draw_log(r, n, True)),
        Peer("logz", RoutineSettings, segment_logz, lambda r, n: _draw_log(r, 1.0, True)),
        Peer("cc", CutSettings, segment_cut, _draw_cc),
        Peer("matched", CutSettings, segment_cut, _draw_matched),
        Peer("blob_dog", BlobSettings, segment_blobs, _draw_blobs),
    )
}


def tune(
    peer: Peer,
    projections: Sequence[Projection],
    truths: Sequence[Truth],
    trials: int = 60,
    seed: int = 0,
) -> tuple[Settings, float]:
    """The best of random settings by `Tally.worth`, and how good they are.

    Parameters
    ----------
    peer : Peer
    projections, truths : sequences
        What is tuned on, and only that.
    trials : int
        Settings tried.
    seed : int

    Returns
    -------
    settings : Settings
    worth : float
    """

    def worth(settings: Settings) -> float:
        tally = Tally()
        for projection, truth in zip(projections, truths, strict=True):
            tally.add(judge(peer.segment(projection, settings), truth, why=False))
        return tally.worth

    noise = float(np.median([np.median(p.noise) for p in projections]))
    return search(peer, worth, noise, trials, seed)


def search(
    peer: Peer,
    worth: Callable[[Settings], float],
    noise: float,
    trials: int = 60,
    seed: int = 0,
) -> tuple[Settings, float]:
    """The best of random settings by any measure; the last quarter stays near the best so far.

    Parameters
    ----------
    peer : Peer
    worth : callable (Settings) -> float
    noise : float
        Noise sigma of the scan, counts.
    trials, seed : int
    """
    rng = np.random.default_rng([seed, sum(peer.name.encode())])
    best, top = None, -1.0
    for trial in range(trials):
        tried = peer.draw(rng, noise)
        if best is not None and trial >= 0.75 * trials:
            tried = _near(best, tried, rng)
        value = worth(tried)
        if value > top:
            best, top = tried, value
    return best, top


def _near(best: Settings, other: Settings, rng: np.random.Generator) -> Settings:
    """`best` with one or two of its values moved towards or exchanged for another's."""
    names = list(best.to_dict())
    changes = {}
    for name in rng.choice(names, 2, replace=False):
        mine, theirs = getattr(best, name), getattr(other, name)
        is_real = isinstance(mine, float)
        changes[str(name)] = float(f"{0.7 * mine + 0.3 * theirs:.3g}") if is_real else theirs
    return best.replace(**changes)
