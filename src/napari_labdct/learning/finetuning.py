"""Fine-tuning: a trained model learns on, from reviewed pairs or from one's own scan."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from ..errors import OutputError, SettingsError
from .model import SUFFIX, Model
from .networks import build_network
from .pairs import FineTuneSettings, ReviewedPairs
from .settings import TrainSettings
from .synthesis import SynthesisSettings
from .training import STOPPED, TrainProgress, train


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
    work = work_folder(output)
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
    synthesis = SynthesisSettings(crop_px=settings.crop_px)
    for step in train(training, work, synthesis, device, start, pairs):
        yield step
        if step.end == STOPPED:
            return
    Model.load(work / f"best{SUFFIX}", "cpu").save(output)
    shutil.rmtree(work, ignore_errors=True)


def work_folder(output: Path | str) -> Path:
    """Where the training that makes a model keeps its files until it is done."""
    output = Path(output).expanduser()
    return output.with_name(output.name + ".work")
