"""How good a network is: spots found and false on crops whose truth is known, and by SNR."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..spots.components import drop_small
from ..spots.matching import Score, match_spots
from .crops.synthesis import Crop, make_crop
from .settings import SynthesisSettings, TrainSettings

if TYPE_CHECKING:
    from .crops.batches import Source

VALIDATION_SEED = 1_000_000_007  # crops no training seed draws
THRESHOLDS = tuple(range(32, 240, 16))  # of 255, tried on the validation crops
SNR_EDGES = (0.1, 0.3, 0.7, 1.5, 3.0, 6.0, 12.0, 30.0, 1000.0)
LOSS_BATCH = 16  # crops over which the loss is taken, as in training
PICTURES = 3


def validation_crops(
    settings: TrainSettings, synthesis: SynthesisSettings, source: Source | None = None
) -> list[Crop]:
    """The fixed crops a training is judged on; synthetic ones all have a median.

    Those of a source (reviewed pairs, a scan) are cut from what it learns from, at other
    places: they choose the threshold and the best moment, and are no independent score.
    """
    with_median = synthesis.replace(no_median=0.0)
    draw = partial(source.mixed if source else make_crop, with_median)
    return [draw(VALIDATION_SEED, k) for k in range(settings.validation_crops)]


def validate(
    model: Callable[..., np.ndarray],
    crops: list[Crop],
    min_size_px: int = 3,
    loss_of: Callable[..., Any] | None = None,
    thresholds: tuple[int, ...] = THRESHOLDS,
) -> dict[str, Any]:
    """Spot F1 (precision, recall) of a model on crops with known truth, at its best threshold.

    Spots nobody could see neither count as missed nor, when marked, as false.

    Parameters
    ----------
    model : callable
        ``model(frame, median)`` gives 0 to 1, as a `Model` does.
    crops : list of Crop
        All of one size.
    min_size_px : int
        Smaller spots are dropped.
    loss_of : callable, optional
        ``loss_of(logits, target, weight)``; adds ``loss`` to the result.
    thresholds : tuple of int
        Of 255, the best of them is taken.

    Returns
    -------
    dict
        ``loss``, ``f1``, ``precision``, ``recall``, ``pixel_iou``, ``threshold`` (of 255),
        ``f1_at_128`` (if tried), ``merged``, ``spots`` and ``crops`` (how many),
        ``recall_by_snr`` as ``[[from, to, recall, spots], ...]``, bins without spots left out.
    """
    scores = {t: Score() for t in thresholds}
    found = {t: np.zeros(len(SNR_EDGES) - 1, int) for t in thresholds}
    present = np.zeros(len(SNR_EDGES) - 1, int)
    outputs = [model(crop.frame, crop.median) for crop in crops]
    for crop, output in zip(crops, outputs, strict=True):
        probability = np.round(255 * output)
        names, truth = np.unique(np.where(crop.labels < 0, 0, crop.labels), return_inverse=True)
        truth = (truth.reshape(crop.labels.shape) - (names[0] < 0)).astype(np.int32)
        snr = crop.spots["snr"][names[names > 0] - 1]
        present += _histogram(snr)
        for threshold in thresholds:
            mask = drop_small(probability >= threshold, min_size_px)
            match = match_spots(_without_ignored(mask, crop.labels), truth)
            scores[threshold] += match
            found[threshold] += _histogram(snr[match.pairs[:, 1] - 1])
    best = max(thresholds, key=lambda t: scores[t].f1)
    score = scores[best]
    ratios = {
        "f1": score.f1,
        "precision": score.precision,
        "recall": score.recall,
        "pixel_iou": score.pixel_iou,
    }
    if 128 in scores:
        ratios["f1_at_128"] = scores[128].f1
    result = {k: 0.0 if math.isnan(v) else round(v, 5) for k, v in ratios.items()}
    if loss_of is not None:
        result["loss"] = round(_loss(loss_of, outputs, crops), 5)
    return {
        **result,
        "merged": score.merged,
        "spots": score.spots_b,
        "threshold": best,
        "crops": len(crops),
        "recall_by_snr": [
            [low, high, round(float(hit / count), 5), int(count)]
            for low, high, hit, count in zip(
                SNR_EDGES, SNR_EDGES[1:], found[best], present, strict=False
            )
            if count
        ],
    }


def _histogram(snr: np.ndarray) -> np.ndarray:
    """Spots a bin of `SNR_EDGES`; the unknown SNR of reviewed spots counts nowhere."""
    return np.histogram(snr[np.isfinite(snr)], SNR_EDGES)[0]


def _loss(loss_of: Callable[..., Any], outputs: list[np.ndarray], crops: list[Crop]) -> float:
    import torch

    from .crops.batches import truth_arrays

    total = 0.0
    for first in range(0, len(crops), LOSS_BATCH):
        part = slice(first, first + LOSS_BATCH)
        target, weight = (
            torch.from_numpy(np.stack(a)) for a in zip(*map(truth_arrays, crops[part]), strict=True)
        )
        output = torch.from_numpy(np.stack(outputs[part])[:, None])
        with torch.no_grad():
            loss = loss_of(torch.logit(output, eps=1e-6), target, weight)
        total += float(loss) * len(target)
    return total / len(crops)


def _without_ignored(mask: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Labels of the found spots, less those that lie on ignored spots only."""
    from scipy import ndimage

    found, count = ndimage.label(mask, np.ones((3, 3)))
    on_ignored = np.bincount(found[labels < 0], minlength=count + 1) > 0
    on_spot = np.bincount(found[labels > 0], minlength=count + 1) > 0
    keep = ~on_ignored | on_spot
    keep[0] = False
    return (np.cumsum(keep) * keep)[found].astype(np.int32)


def triptychs(model: Callable[..., np.ndarray], crops: list[Crop]) -> dict[str, np.ndarray]:
    """The first crops with spots as pictures: frame, the model's output (of 255), target.

    Returns
    -------
    dict of arrays (k, n, n)
        ``frame`` float32 counts, ``output`` and ``target`` uint8; k is at most 3.
    """
    shown = [c for c in crops if (c.labels > 0).any()][:PICTURES] or crops[:PICTURES]
    outputs = [np.round(255 * model(c.frame, c.median)).astype(np.uint8) for c in shown]
    return {
        "frame": np.stack([c.frame for c in shown]).astype(np.float32),
        "output": np.stack(outputs),
        "target": np.stack([np.where(c.labels > 0, 255, 0).astype(np.uint8) for c in shown]),
    }
