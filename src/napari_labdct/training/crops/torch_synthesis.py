"""Training batches made on the device that learns from them, so that no GPU waits for crops.

The same pairs as `synthesis`, with the same ranges and in the same order, but all crops of a batch
at once and in torch: only the table of shapes (`scenes`) comes from the processor.  Nothing here
asks the device for a number, so it renders ahead while the host goes on; sums over pixels are
sums of whole numbers, so that a GPU gives the same whatever order it adds in.
"""

from __future__ import annotations

import math
from functools import lru_cache, partial

import torch
from torch.nn.functional import max_pool2d

from ...background.fields import spline_basis
from ...networks.torch_normalisation import normalise
from ...spots.label_levels import LABEL_LEVEL
from ..settings import SynthesisSettings, TrainSettings
from .batches import Stream
from .crop_spots import SMALLEST_REST_PX
from .scenes import COSMIC, FLOATS, GHOST, HALO, SPOT, STATIC, WHOLES, Scene, draw_scene

KNOTS = (4, 5, 6, 9)  # of smooth fields, as in `background.fields.smooth_field`
FINE_KNOTS = 14
STEPS = 2.0**16  # of one, in sums

Tensor = torch.Tensor
Tensors = tuple[Tensor, Tensor, Tensor]


class DeviceBatches(Stream):
    """Batch after batch on a device; the counterpart of `Batches`.

    Batch n consists of scenes ``n parts ... (n + 1) parts - 1`` of the seed, one for each of
    `TrainSettings.parts`, so it does not depend on how many processes share them.

    Parameters
    ----------
    settings : TrainSettings
    synthesis : SynthesisSettings
    device : torch.device
    first, share, workers
        As of `Batches`.
    """

    def __init__(
        self,
        settings: TrainSettings,
        synthesis: SynthesisSettings,
        device: torch.device,
        first: int,
        share: tuple[int, int] = (0, 1),
        workers: int = 0,
    ) -> None:
        make = partial(draw_scene, synthesis, settings.batch // settings.parts, settings.seed)
        super().__init__(make, settings.parts, first, share, workers)
        self._render = partial(
            render, settings=synthesis, block_px=settings.block_px, device=device
        )

    def __next__(self) -> Tensors:
        """Input (batch, 2, n, n), target and weight (batch, 1, n, n), float32, on the device."""
        parts = [self._render(scene) for scene in super().__next__()]
        return tuple(torch.cat(tensors) for tensors in zip(*parts, strict=True))


def render(
    scene: Scene, settings: SynthesisSettings, block_px: int, device: torch.device
) -> Tensors:
    """The crops of a scene: input (crops, 2, n, n), target and loss weight (crops, 1, n, n)."""
    frame, median, has_median, target, weight = render_images(scene, settings, device)[:5]
    return normalise(frame, median, has_median, block_px), target[:, None], weight[:, None]


def render_images(scene: Scene, settings: SynthesisSettings, device: torch.device) -> tuple:
    """The crops of a scene before normalisation.

    Returns
    -------
    frame, median : Tensor (crops, n, n)
        Whole counts, and the rolling median.
    has_median : bool Tensor (crops, 1, 1)
    target, weight : Tensor (crops, n, n)
    expected, sigma : Tensor (crops, n, n)
        Of the frame, without cosmic rays, in counts before offset and digitisation.
    spots : Tensor (spots, 2)
        SNR and area of every spot.
    labels : Tensor (crops, n, n)
        Number of the spot at each pixel from 1, before close ones are cut apart.
    """
    n = settings.crop_px
    dice = _Dice(device, scene.seed, scene.crops, n)
    canvas = _Canvas(scene, n, device)

    variance = dice.log_uniform(settings.noise_min, settings.noise_max)
    tau = (variance + (variance * variance + 8 * variance).sqrt()) / 2
    gain = 1 + tau / 2
    level = dice.log_uniform(settings.level_min, settings.level_max) / gain
    smooth = level * _smooth_background(dice)
    lit = torch.maximum(_mean(smooth), 1e-3 * level)
    sigma0 = (0.5 * lit).sqrt() * tau / gain
    static = sigma0 * canvas.image(STATIC) + _static_structure(dice, smooth, sigma0)
    behind = smooth + static

    drift = 1 + 0.05 * dice.normal() + 0.015 * dice.field()
    uneven = 0.03 * dice.normal() + 0.02 * dice.field()
    in_frame = (smooth + static * (1 + uneven)) * drift
    down, across = torch.gradient(behind, dim=(1, 2))
    shift = 0.05 * dice.normal() * dice.happens(0.3)
    in_frame = (in_frame + shift * torch.where(dice.happens(0.5), down, across)).clamp(min=0)

    noise = (0.5 * in_frame + 0.05).sqrt() * tau / gain
    full = torch.where(dice.happens(0.9), 65535.0, level * gain + 100 * sigma0)
    signal, labels, spots = canvas.spots(noise, full / gain)

    x0 = signal + in_frame
    frame = _add_noise(dice, x0, tau)
    expected = x0 * gain
    readout = dice.happens(0.4) * dice.uniform(0, 0.7) * sigma0 * gain
    sigma = (0.5 * tau**2 * x0 + readout**2).sqrt()
    frame = frame + readout * dice.normal(n, n)
    shared = dice.happens(0.7) * dice.uniform(0, 0.08)
    frame = expected + _correlate(frame - expected, shared)

    window = dice.log_uniform(settings.window_min, settings.window_max).round()
    median = _modelled_median(dice, behind * gain, frame, expected, sigma, window)
    median = median + sigma0 * gain * canvas.image(GHOST)
    hits = sigma0 * gain * canvas.image(COSMIC)
    offset = dice.happens(0.4) * dice.log_uniform(1, 3) * 0.3 * level
    frame, median = _digitise(
        dice, frame + hits + offset, median + offset, sigma0 * gain, full + offset, window
    )
    target, weight = _truth(settings, labels, spots, hits > 3 * sigma)
    turned = dice.happens(0.5)
    frame, median, target, weight, expected, sigma, labels = (
        torch.where(turned, k.mT, k)
        for k in (frame, median, target, weight, expected, sigma, labels)
    )
    has_median = ~dice.happens(settings.no_median)
    return frame, median, has_median, target, weight, expected, sigma, spots, labels


class _Dice:
    """Random numbers for each crop: tensors (crops, 1, 1), or images (crops, rows, cols)."""

    def __init__(self, device: torch.device, seed: int, crops: int, n: int) -> None:
        self.device, self.crops, self.n = device, crops, n
        self.generator = torch.Generator(device).manual_seed(seed)

    def uniform(self, low: float = 0.0, high: float = 1.0, rows: int = 1, cols: int = 1) -> Tensor:
        u = torch.rand(self.crops, rows, cols, generator=self.generator, device=self.device)
        return low + (high - low) * u

    def log_uniform(self, low: float, high: float, rows: int = 1, cols: int = 1) -> Tensor:
        return self.uniform(math.log(low), math.log(high), rows, cols).exp()

    def normal(self, rows: int = 1, cols: int = 1) -> Tensor:
        return torch.randn(self.crops, rows, cols, generator=self.generator, device=self.device)

    def happens(self, part: float | Tensor) -> Tensor:
        return self.uniform() < part

    def field(self, *knots: int) -> Tensor:
        """Smooth fields of unit variance; as many knots a side as one of `knots` says."""
        bases = _bases(self.n, knots or KNOTS, self.device)
        which = torch.randint(len(bases), (self.crops,), generator=self.generator,
                              device=self.device)  # fmt: skip
        basis = bases[which]
        return 2 * basis @ self.normal(basis.shape[2], basis.shape[2]) @ basis.mT


@lru_cache(maxsize=16)
def _bases(n: int, knots: tuple[int, ...], device: torch.device) -> Tensor:
    """Spline bases (choices, n, most knots), those of fewer knots filled up with zeros."""
    bases = torch.zeros(len(knots), n, max(knots))
    for basis, k in zip(bases, knots, strict=True):
        basis[:, :k] = torch.from_numpy(spline_basis(n, k))
    return bases.to(device)


class _Canvas:
    """The shapes of a scene on a device, drawn layer by layer."""

    def __init__(self, scene: Scene, n: int, device: torch.device) -> None:
        self.scene, self.n = scene, n
        floats, wholes = (torch.from_numpy(a) for a in (scene.floats, scene.wholes))
        if device.type == "cuda":  # else copying waits for all that the GPU has still to do
            floats, wholes = floats.pin_memory(), wholes.pin_memory()
        floats, wholes = (a.to(device, non_blocking=True) for a in (floats, wholes))
        self.floats = dict(zip(FLOATS, floats, strict=True))
        self.wholes = dict(zip(WHOLES, wholes, strict=True))
        self.shape, self.pixel, self.profile = self._profiles(floats[: FLOATS.index("level")])

    def _profiles(self, outlines: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of each pixel of each box: its shape, its flat index, and the shape's profile there."""
        whole, device = self.wholes, outlines.device
        total = self.scene.pixels_before(self.scene.ends[-1])
        shape = torch.repeat_interleave(
            torch.arange(len(whole["first"]), device=device),
            whole["tall"] * whole["wide"], output_size=total,
        )  # fmt: skip
        inside = torch.arange(total, device=device) - whole["first"][shape]
        wide = whole["wide"][shape]
        row, col = whole["top"][shape] + inside // wide, whole["left"][shape] + inside % wide
        pixel = (whole["crop"][shape] * self.n + row) * self.n + col
        row0, col0, length, width, cosine, sine, *more = outlines.index_select(1, shape)
        flat_u, flat_v, bend, wave, phase, lowest, far = more
        row, col = row - row0, col - col0
        u = col * cosine + row * sine
        v = (row * cosine - col * sine - bend * u * u) / width
        u = u / length
        near = torch.maximum(u.abs(), v.abs()) <= far
        scale = 1 / (1 + wave * torch.cos(3 * torch.atan2(v, u) + phase))
        profile = (-0.5 * ((scale * u).abs() ** flat_u + (scale * v).abs() ** flat_v)).exp()
        return shape, pixel, torch.where(near & (profile >= lowest), profile, 0)

    def _slices(self, layer: int) -> tuple[slice, slice]:
        """The shapes of a layer, and the pixels of their boxes."""
        first, last = (0, *self.scene.ends)[layer : layer + 2]
        before = self.scene.pixels_before
        return slice(first, last), slice(before(first), before(last))

    def image(self, layer: int, height: Tensor | None = None) -> Tensor:
        """The shapes of a layer, (crops, n, n), with peaks `height`, or those in the table."""
        shapes, pixels = self._slices(layer)
        height = self.floats["height"][shapes] if height is None else height
        value = self.profile[pixels] * height[self.shape[pixels] - shapes.start]
        size = self.scene.crops * self.n**2
        return _total(value, self.pixel[pixels], size).view(-1, self.n, self.n)

    def spots(self, noise: Tensor, full: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Spots of the SNR they were given, their labels (numbers from 1), SNR and area."""
        shapes, pixels = self._slices(SPOT)
        shape, pixel = self.shape[pixels] - shapes.start, self.pixel[pixels]
        profile = self.profile[pixels]
        snr, level = (self.floats[k][shapes] for k in ("snr", "level"))
        crop, centre, owner = (self.wholes[k][shapes] for k in ("crop", "centre", "owner"))
        area, mean = _measure(profile, shape, level)
        height = torch.where(area > 0, snr * noise.flatten()[centre] / mean, 0)
        # Its label ends at the noise, which is this part of the peak, but keeps the core.
        level = torch.minimum(level, (mean / snr).clamp(min=LABEL_LEVEL))
        area, lower_mean = _measure(profile, shape, level)
        snr = torch.where(area > 0, snr * lower_mean / mean, 0)

        halos = height[self.wholes["owner"][self._slices(HALO)[0]]]
        halos = halos * self.floats["height"][self._slices(HALO)[0]]
        signal = self.image(SPOT, height) + self.image(HALO, halos)

        # Where the detector saturates, a label is as wide as what it shows.
        clip = (full.flatten()[crop] / height.clamp(min=1e-6)).clamp(max=1)
        value = torch.where(profile >= (level * clip)[shape], profile * height[shape], 0)
        strongest = torch.zeros_like(noise).flatten()
        strongest.scatter_reduce_(0, pixel, value, "amax")
        number = torch.where((value > 0) & (value == strongest[pixel]), owner[shape] + 1, 0)
        labels = torch.zeros(noise.numel(), dtype=torch.int64, device=noise.device)
        labels.scatter_reduce_(0, pixel, number, "amax")

        count = self.scene.spots
        pieces, whole_area, whole_snr = (
            _total(k, owner, count) for k in ((area > 0).float(), area, snr * area)
        )
        whole_snr = whole_snr / whole_area.clamp(min=1)
        # Pieces of one streak overlap by more than half.
        whole_area = whole_area / torch.where(pieces > 1, 2.2, 1)
        spots = torch.stack([whole_snr, whole_area], dim=1)
        return signal, labels.view_as(noise), spots


def _total(values: Tensor, index: Tensor, size: int) -> Tensor:
    """Sums of the values of each index, the same in whatever order they are added."""
    whole = (values * STEPS).round().long()
    sums = torch.zeros(size, dtype=torch.int64, device=values.device)
    return sums.index_add_(0, index, whole) / STEPS


def _measure(profile: Tensor, shape: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
    """Area and mean profile of each shape's label, as `shapes.measure_shapes`."""
    inside = profile >= level[shape]
    area = _total(inside.float(), shape, len(level))
    total = _total(torch.where(inside, profile, 0), shape, len(level))
    return area, total / area.clamp(min=1)


def _mean(image: Tensor) -> Tensor:
    return image.mean(dim=(1, 2), keepdim=True)


def _smooth_background(dice: _Dice) -> Tensor:
    """Positive, of mean about 1, with beam stops in some crops."""
    log = dice.log_uniform(0.01, 0.35) * dice.field()
    fine = dice.happens(0.15) * 0.3 * dice.log_uniform(0.1, 1)
    smooth = (log + fine * dice.field(FINE_KNOTS)).exp()
    one = dice.happens(0.3)
    for there in (one, one & dice.happens(0.4)):
        smooth = smooth * torch.where(there, _beam_stop(dice), 1)
    return smooth


def _beam_stop(dice: _Dice) -> Tensor:
    """Transmission of a square or round absorber with a penumbra."""
    n = dice.n
    along = torch.arange(n, device=dice.device)
    row = along[:, None] - dice.uniform(-0.2, 1.2) * n
    col = along[None, :] - dice.uniform(-0.2, 1.2) * n
    half, soft = dice.uniform(0.1, 0.7) * n, dice.log_uniform(0.4, 12)
    aspect = dice.uniform(0.5, 2)
    square = torch.minimum(half - row.abs(), half * aspect - col.abs())
    depth = torch.where(dice.happens(0.5), half - torch.hypot(row, col), square)
    through = dice.happens(0.6) * dice.uniform(0, 0.9)
    return 1 - (1 - through) * torch.sigmoid(depth / soft)


def _static_structure(dice: _Dice, smooth: Tensor, sigma: Tensor) -> Tensor:
    """Columns, edge glow, fixed pattern and hot pixels, in counts."""
    n = dice.n
    lines = dice.normal(1, n) * (dice.uniform(0, 1, 1, n) < dice.uniform())
    static = dice.happens(0.2) * sigma * dice.log_uniform(0.1, 2) * lines
    away = torch.arange(n, device=dice.device, dtype=torch.float32)
    away = torch.where(dice.happens(0.5), away, n - 1 - away)
    uneven = (dice.uniform(0, 0.7) * dice.normal(n, 1)).exp()
    uneven = torch.maximum(uneven, (0.7 * dice.field(9)[:, :, :1]).exp())
    glow = (-away / dice.log_uniform(0.7, 15)).exp() * uneven * dice.log_uniform(0.05, 6)
    pattern = torch.minimum(dice.uniform(0, 0.03) * _mean(smooth), 3 * sigma)
    hot = dice.uniform(0, 1, n, n) < dice.log_uniform(3e-5, 4e-3) * dice.happens(0.7)
    return (
        static + dice.happens(0.12) * smooth * glow
        + dice.happens(0.6) * pattern * dice.normal(n, n)
        + hot * sigma * dice.log_uniform(2, 100, n, n)
    )  # fmt: skip


def _add_noise(dice: _Dice, x0: Tensor, tau: Tensor) -> Tensor:
    """Eq. 2; Poisson numbers are drawn exactly up to a mean of 30, above from a normal one."""
    half = x0.clamp(min=0) / 2
    few = half < 30
    counts = torch.poisson(torch.where(few, half, 0), generator=dice.generator)
    many = half + half.sqrt() * dice.normal(dice.n, dice.n)
    return x0 + tau * torch.where(few, counts, many)


def _correlate(noise: Tensor, part: Tensor) -> Tensor:
    """As `background.fields.correlate`."""
    for axis in (1, 2):
        noise = noise + part * (noise.roll(1, axis) + noise.roll(-1, axis))
    return noise / (1 + 2 * part * part)


def _modelled_median(dice, behind, frame, expected, sigma, window) -> Tensor:
    """As `synthesis.modelled_median`."""
    spread = (math.pi / 2 / window - 1 / window**2).clamp(min=0).sqrt()
    moved = 1.25 / window * ((expected - behind) / sigma.clamp(min=1e-3)).clamp(0, 1)
    noise = spread * dice.normal(dice.n, dice.n)
    return behind + (frame - expected) / window + sigma * (noise + moved)


def _digitise(dice, frame, median, sigma, full, window) -> tuple[Tensor, Tensor]:
    """Whole counts of 16 bit, or of 8 bit with the noise at 0.6 to 6 counts."""
    narrow = dice.happens(0.2)
    scale = torch.where(narrow, dice.log_uniform(0.6, 6) / sigma, 1)
    shift = (_mean(median) * scale - 120).clamp(min=0) * (narrow & dice.happens(0.9))
    full = torch.where(narrow, 255.0, full.clamp(max=65535).floor())
    step = 2 - window % 2  # the median of an even number of whole counts may be a half
    frame, median = frame * scale - shift, median * scale - shift
    frame, median = frame.round(), (median * step).round() / step
    return tuple(torch.minimum(k.clamp(min=0), full) for k in (frame, median))


def _truth(settings, labels: Tensor, spots: Tensor, hit: Tensor) -> tuple[Tensor, Tensor]:
    """Target and loss weight, as `crop_spots.truth_of` without its cut where the signal dips."""
    snr, area = spots.unbind(1)
    owned = torch.zeros(len(area) + 1, dtype=torch.int64, device=area.device)
    owned = owned.index_add_(0, labels.flatten(), torch.ones_like(labels).flatten())[1:]
    clear = (snr * owned.sqrt() >= settings.visible_from) & (owned >= SMALLEST_REST_PX)
    seen = snr * area.sqrt() >= settings.background_below
    gap = keep_apart(labels, owned, clear)
    alike = (40 / area.clamp(min=1)).clamp(0.4, 1)
    weight = torch.where(seen, torch.where(clear, alike, 0.0), 1.0)
    target = _at_pixels(clear & seen, labels, False) & ~gap
    weight = torch.where(gap, settings.gap_weight, _at_pixels(weight, labels, 1.0))
    empty = ~_at_pixels(seen, labels, False) | gap
    return target.float(), torch.where(hit & empty, 2.0, weight)


def keep_apart(labels: Tensor, area: Tensor, clear: Tensor) -> Tensor:
    """Gaps two pixels wide between clear labels, at the cost of the larger: `shapes.keep_apart`."""
    count = len(area)
    # Ranks instead of areas, so that no two are equal: the smaller a label the higher.
    rank = torch.zeros(count, device=area.device)
    rank[area.argsort(stable=True)] = torch.arange(count, 0.0, -1, device=area.device)
    rank = _at_pixels(rank * clear, labels, 0.0)[:, None]
    highest = max_pool2d(rank, 5, 1, 2)
    lowest = -max_pool2d(torch.where(rank > 0, -rank, -math.inf), 5, 1, 2)
    gap = (highest > lowest) & (highest > rank)
    return gap[:, 0] & _at_pixels(clear, labels, True)


def _at_pixels(of_labels: Tensor, labels: Tensor, elsewhere: float) -> Tensor:
    """What each label has, at its pixels; labels are numbers from 1."""
    return torch.cat([of_labels.new_full((1,), elsewhere), of_labels])[labels]
