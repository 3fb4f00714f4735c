"""The training loop: read it from top to bottom.

``for progress in train(settings, folder): ...`` trains and yields every `report_every`
iterations; closing the generator stops, calling it again with the same settings and folder
goes on from the last checkpoint along the same curve.  The folder holds ``last.safetensors``
(everything needed to go on) and ``best.safetensors`` (a model file, ready to use).
`fine_tune` is the same loop from a trained model to another one, on reviewed pairs.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch

from ..comparison import Score, match_spots
from ..errors import ModelError, OutputError, SettingsError
from ..jobs import Progress
from ..parameters import Param, Settings
from ..routine import drop_small
from .losses import LOSSES
from .model import SUFFIX, Model, available_cores, read_file, resolve_device, write_file
from .networks import NETWORKS, build_network
from .normalisation import normalise
from .pairs import FineTuneSettings, ReviewedPairs
from .synthesis import Crop, SynthesisSettings, make_crop

VALIDATION_SEED = 1_000_000_007  # crops no training seed draws
THRESHOLDS = tuple(range(32, 240, 16))  # of 255, tried on the validation crops


@dataclass(frozen=True, kw_only=True)
class TrainSettings(Settings):
    """How a network is trained; with the synthesis settings, all that decides the result."""

    job = "training"

    network: Annotated[str, Param("Network", choices=tuple(NETWORKS))] = "compact"
    loss: Annotated[str, Param("Loss", choices=tuple(LOSSES))] = "bce-dice"
    iterations: Annotated[int, Param("Iterations", min=1, help="Steps of the optimiser.")] = 6000
    batch: Annotated[int, Param("Batch", unit="crops", min=1)] = 16
    learning_rate: Annotated[float, Param("Learning rate", min=0, help="Peak.")] = 3e-3
    warmup: Annotated[int, Param("Warm-up", unit="iterations", min=0)] = 100
    decay: Annotated[
        int | None,
        Param(
            "Decay",
            unit="iterations",
            min=0,
            help="Last iterations, over which the learning rate falls; all of them if not given.",
        ),
    ] = None
    weight_decay: Annotated[float, Param("Weight decay", min=0)] = 1e-2
    clip: Annotated[float, Param("Gradient clip", min=0, help="Largest gradient norm.")] = 1.0
    ema: Annotated[
        float, Param("Weight averaging", min=0, max=1, help="Decay; the average is kept.")
    ] = 0.998
    precision: Annotated[
        str,
        Param("Precision", choices=("float32", "bfloat16"), help="Of the convolutions."),
    ] = "float32"
    block_px: Annotated[int, Param("Normalisation block", unit="px", min=8, max=256)] = 32
    median_window: Annotated[
        int, Param("Rolling median", unit="frames", min=3, help="Default when denoising.")
    ] = 31
    seed: Annotated[int, Param("Seed", min=0)] = 0
    validation_crops: Annotated[int, Param("Validation crops", min=1)] = 96
    validate_every: Annotated[int, Param("Validate every", unit="iterations", min=1)] = 500
    checkpoint_every: Annotated[int, Param("Checkpoint every", unit="iterations", min=1)] = 250
    report_every: Annotated[int, Param("Report every", unit="iterations", min=1)] = 50


@dataclass(frozen=True)
class TrainProgress(Progress):
    """`Progress` plus the curve: mean loss since the last report, and validation if it ran."""

    loss: float = math.nan
    learning_rate: float = math.nan
    seconds: float = 0.0
    validation: dict[str, Any] = field(default_factory=dict)


def train(
    settings: TrainSettings,
    folder: Path | str,
    synthesis: SynthesisSettings | None = None,
    device: str = "auto",
    start_from: Model | None = None,
    pairs: ReviewedPairs | None = None,
) -> Iterator[TrainProgress]:
    """Train a network, from scratch or from a model, or go on with a stopped training.

    Parameters
    ----------
    settings : TrainSettings
    folder : path
        Where checkpoints go; a checkpoint found there is resumed.
    synthesis : SynthesisSettings, optional
        The training crops.
    device : str
        ``auto`` or a name from `devices`.
    start_from : Model, optional
        Weights to begin with instead of random ones.
    pairs : ReviewedPairs, optional
        Reviewed pairs to cut a part of the crops from, for learning and validation alike.

    Yields
    ------
    TrainProgress

    Raises
    ------
    ModelError
        The folder's checkpoint belongs to a training with other settings or cannot be read.
    SettingsError
        A reviewed pair is smaller than a crop.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    synthesis = synthesis or SynthesisSettings()
    device = resolve_device(device)
    if device.type == "cpu":  # one core draws crops while the others learn
        torch.set_num_threads(min(torch.get_num_threads(), max(available_cores() - 1, 1)))
    recipe = {"train": settings.to_dict(), "synthesis": synthesis.to_dict()}
    if start_from is not None:
        recipe["start_from"] = start_from.sha256
    if pairs is not None:
        pairs.check_size(synthesis.crop_px)
        recipe["pairs"] = pairs.recipe
    draw = partial(pairs.mixed if pairs else make_crop, synthesis)

    torch.manual_seed(settings.seed)
    network = build_network(settings.network)
    if start_from is not None:
        network.load_state_dict(start_from.weights)
    network.to(device, memory_format=torch.channels_last)
    average = {k: v.clone() for k, v in network.state_dict().items()}
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    loss_of = LOSSES[settings.loss]
    if settings.precision == "bfloat16":
        narrow = lambda: torch.autocast(device.type, dtype=torch.bfloat16)  # noqa: E731
    else:
        narrow = nullcontext
    state = {"iteration": 0, "best_f1": -1.0, "seconds": 0.0, "history": []}
    if (folder / "last.safetensors").exists():
        state = _load_checkpoint(folder / "last.safetensors", recipe, network, average, optimiser)

    def model_now() -> Model:
        return Model.of(
            settings.network, average, block_px=settings.block_px,
            median_window=settings.median_window, device=str(device),
        )  # fmt: skip

    validation_set = None
    losses: list[float] = []
    began = time.monotonic() - state["seconds"]
    network.train()
    with closing(_batches(settings, draw, state["iteration"])) as batches:
        for iteration in range(state["iteration"], settings.iterations):
            x, target, weight = (
                torch.from_numpy(a).to(device, non_blocking=True) for a in next(batches)
            )
            rate = learning_rate_at(settings, iteration)
            for group in optimiser.param_groups:
                group["lr"] = rate
            with narrow():
                logits = network(x.contiguous(memory_format=torch.channels_last))
            loss = loss_of(logits.float(), target, weight)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), settings.clip)
            optimiser.step()
            _follow(
                average, network.state_dict(), min(settings.ema, (1 + iteration) / (10 + iteration))
            )
            losses.append(loss.item())

            done = iteration + 1
            state["iteration"], state["seconds"] = done, time.monotonic() - began
            validation: dict[str, Any] = {}
            if done % settings.validate_every == 0 or done == settings.iterations:
                if validation_set is None:
                    validation_set = validation_crops(settings, synthesis, pairs)
                model = model_now()
                validation = validate(model, validation_set)
                state["history"].append({"iteration": done, **validation})
                if validation["f1"] > state["best_f1"]:
                    state["best_f1"] = validation["f1"]
                    model.threshold = validation["threshold"]
                    model.training = {**recipe, "iterations_done": done, "validation": validation,
                                      "seconds": round(state["seconds"])}  # fmt: skip
                    model.save(folder / "best.safetensors")
            if done % settings.checkpoint_every == 0 or done == settings.iterations:
                _save_checkpoint(
                    folder / "last.safetensors", recipe, state, network, average, optimiser
                )
            if done % settings.report_every == 0 or validation or done == settings.iterations:
                mean_loss, losses = float(np.mean(losses)), []
                yield TrainProgress(
                    done, settings.iterations, "training", loss=mean_loss, learning_rate=rate,
                    seconds=state["seconds"], validation=validation,
                )  # fmt: skip


def fine_tune(
    settings: FineTuneSettings,
    folder: Path | str,
    output: Path | str,
    model: str | Path = "compact",
    device: str = "auto",
    overwrite: bool = False,
) -> Iterator[TrainProgress]:
    """Let a trained model learn from reviewed pairs too, and save what comes of it.

    Checkpoints are in ``OUTPUT.work`` beside the output until it is done; the same call goes on
    where it stopped.

    Parameters
    ----------
    settings : FineTuneSettings
    folder : path
        Pairs written by `io.spot_exports.write_training_pairs`.
    output : path
        The new model, a ``.safetensors`` file.
    model : str or path
        A shipped model's name or a model file to begin with.
    device : str
        ``auto`` or a name from `devices`.
    overwrite : bool
        Replace a file that is there.

    Yields
    ------
    TrainProgress

    Raises
    ------
    ScanError
        The folder holds no usable pairs.
    SettingsError
        A pair is smaller than a crop, or crops do not suit the network.
    ModelError
        The model cannot be loaded, or the work folder belongs to another fine-tuning.
    OutputError
        The output exists or cannot be written.
    """
    output = Path(output)
    work = output.with_name(output.name + ".work")
    if output.suffix != SUFFIX:
        raise OutputError(f"'{output.name}' is no name of a model; let it end in {SUFFIX}.")
    if output.exists() and not overwrite:
        raise OutputError(f"{output} exists; choose another name, or allow it to be replaced.")
    pairs = ReviewedPairs(folder, settings.pairs_part)
    pairs.check_size(settings.crop_px)
    start = Model.load(model, device)
    multiple = int(build_network(start.network).multiple)
    if settings.crop_px % multiple:
        raise SettingsError(
            f"Crops of {settings.crop_px} px do not suit network '{start.network}'; choose a "
            f"multiple of {multiple} (--crop-px)."
        )
    known = ("iterations", "learning_rate", "warmup", "batch", "validation_crops",
             "validate_every", "checkpoint_every", "seed")  # fmt: skip
    training = TrainSettings(
        network=start.network, block_px=start.block_px, median_window=start.median_window,
        report_every=1, **{name: getattr(settings, name) for name in known},
    )  # fmt: skip
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{work} cannot be made ({error.strerror or error}).") from error
    synthesis = SynthesisSettings(crop_px=settings.crop_px)
    yield from train(training, work, synthesis, device, start, pairs)
    Model.load(work / f"best{SUFFIX}", "cpu").save(output)
    shutil.rmtree(work, ignore_errors=True)


def learning_rate_at(settings: TrainSettings, iteration: int) -> float:
    """Linear warm-up, a level stretch (none by default), then a cosine down to a hundredth."""
    if iteration < settings.warmup:
        return settings.learning_rate * (iteration + 1) / settings.warmup
    start = _decay_start(settings)
    part = max(iteration - start, 0) / max(settings.iterations - start, 1)
    return settings.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * part)))


def _decay_start(settings: TrainSettings) -> int:
    if settings.decay is None:
        return settings.warmup
    return max(settings.iterations - settings.decay, settings.warmup)


def _follow(average: dict, current: dict, decay: float) -> None:
    """Move the running average of the weights (and batch-norm statistics) towards them."""
    with torch.no_grad():
        for name, value in current.items():
            if value.is_floating_point():
                average[name].lerp_(value, 1 - decay)
            else:
                average[name].copy_(value)


# --- data ----------------------------------------------------------------------------------


def to_arrays(crop: Crop, block_px: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A crop as network input (2, n, n), target (1, n, n) and loss weight (1, n, n)."""
    x = normalise(crop.frame, crop.median, block_px)
    return x, (crop.labels > 0).astype(np.float32)[None], crop.weight[None]


def _batches(settings: TrainSettings, draw: Callable[[int, int], Crop], first: int):
    """Batch n always holds crops ``n batch ... (n + 1) batch - 1``; one thread draws ahead."""

    def batch(number: int):
        first_crop = number * settings.batch
        crops = [
            to_arrays(draw(settings.seed, first_crop + k), settings.block_px)
            for k in range(settings.batch)
        ]
        return tuple(np.stack(arrays) for arrays in zip(*crops, strict=True))

    with ThreadPoolExecutor(1, thread_name_prefix="synthesis") as pool:
        ahead = [pool.submit(batch, first + k) for k in range(3)]
        number = first + 3
        while True:
            yield ahead.pop(0).result()
            ahead.append(pool.submit(batch, number))
            number += 1


# --- validation ----------------------------------------------------------------------------


def validation_crops(
    settings: TrainSettings, synthesis: SynthesisSettings, pairs: ReviewedPairs | None = None
) -> list[Crop]:
    """The fixed crops a training is judged on; synthetic ones all have a median.

    Reviewed ones are cut from the pairs it learns from, at other places: they choose the
    threshold and the best moment, and are no independent score.
    """
    with_median = synthesis.replace(no_median=0.0)
    draw = partial(pairs.mixed if pairs else make_crop, with_median)
    return [draw(VALIDATION_SEED, k) for k in range(settings.validation_crops)]


def validate(model: Model, crops: list[Crop], min_size_px: int = 3) -> dict[str, Any]:
    """Spot F1 (precision, recall) of a model on simulated crops, at its best threshold.

    Spots nobody could see neither count as missed nor, when marked, as false.
    """
    scores = {t: Score() for t in THRESHOLDS}
    for crop in crops:
        probability = np.round(255 * model(crop.frame, crop.median))
        names, truth = np.unique(np.where(crop.labels < 0, 0, crop.labels), return_inverse=True)
        truth = (truth.reshape(crop.labels.shape) - (names[0] < 0)).astype(np.int32)
        for threshold in THRESHOLDS:
            mask = drop_small(probability >= threshold, min_size_px)
            scores[threshold] += match_spots(_without_ignored(mask, crop.labels), truth)
    best = max(THRESHOLDS, key=lambda t: scores[t].f1)
    score = scores[best]
    ratios = {
        "f1": score.f1,
        "precision": score.precision,
        "recall": score.recall,
        "pixel_iou": score.pixel_iou,
        "f1_at_128": scores[128].f1,
    }
    return {
        **{k: 0.0 if math.isnan(v) else round(v, 5) for k, v in ratios.items()},
        "merged": score.merged,
        "spots": score.spots_b,
        "threshold": best,
        "crops": len(crops),
    }


def _without_ignored(mask: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Labels of the found spots, less those that lie on ignored spots only."""
    from scipy import ndimage

    found, count = ndimage.label(mask, np.ones((3, 3)))
    on_ignored = np.bincount(found[labels < 0], minlength=count + 1) > 0
    on_spot = np.bincount(found[labels > 0], minlength=count + 1) > 0
    keep = ~on_ignored | on_spot
    keep[0] = False
    return (np.cumsum(keep) * keep)[found].astype(np.int32)


# --- checkpoints ---------------------------------------------------------------------------


def _save_checkpoint(path, recipe, state, network, average, optimiser) -> None:
    tensors = {f"network.{k}": v for k, v in network.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.items()}
    for number, slots in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{number}.{k}": v for k, v in slots.items()}
    metadata = {"kind": "checkpoint", "recipe": json.dumps(recipe), "state": json.dumps(state)}
    write_file(path, tensors, metadata)


def _load_checkpoint(path, recipe, network, average, optimiser) -> dict[str, Any]:
    tensors, metadata = read_file(path)
    if metadata.get("kind") != "checkpoint":
        raise ModelError(f"'{path.name}' is not a training checkpoint; train in another folder.")
    state = json.loads(metadata["state"])
    if not _same_so_far(json.loads(metadata["recipe"]), recipe, state["iteration"]):
        raise ModelError(
            f"The checkpoint in '{path.parent}' belongs to a training with other settings; "
            "go on with those, or train in another folder."
        )
    parts: dict[str, dict[str, torch.Tensor]] = {"network": {}, "average": {}, "optimiser": {}}
    for name, value in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = value
    network.load_state_dict(parts["network"])
    for name, value in parts["average"].items():
        average[name].copy_(value)
    slots: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in parts["optimiser"].items():
        number, _, slot = name.partition(".")
        slots.setdefault(int(number), {})[slot] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": slots})
    return state


def _same_so_far(old: dict[str, Any], new: dict[str, Any], iteration: int) -> bool:
    """Whether two trainings are one up to here: the end may move until the rate falls."""
    if old == new:
        return True
    settings = [TrainSettings.from_dict(recipe["train"]) for recipe in (old, new)]
    if min(_decay_start(s) for s in settings) < iteration or settings[0].decay is None:
        return False
    old, new = ({**r, "train": {**r["train"], "iterations": 0}} for r in (old, new))
    return old == new
