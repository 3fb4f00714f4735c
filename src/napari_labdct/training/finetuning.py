"""Fine-tuning: a trained model learns on, from reviewed pairs or from one's own scan."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..background import BackgroundSet, ExtractionSettings, Measurement
from ..background.extraction import Extraction
from ..core.errors import ModelError, OutputError, SettingsError
from ..core.files import cannot_write, make_folder, read_json, remove, write_atomically
from ..core.frame_store import state_of_inputs
from ..core.jobs import Progress
from ..core.locks import alone
from ..core.outputs import taken
from ..core.recipes import recipe_hash
from ..networks.library import SUFFIX
from ..networks.model import Model
from .before_after import Row, compare, crop_rows, scan_row, verdict, write_numbers, write_picture
from .crops.batches import Source
from .crops.reviewed_pairs import FineTuneSettings, ReviewedPairs
from .distributed import processes
from .learner import check_crop_size
from .loop import STOPPED, train
from .settings import SynthesisSettings, TrainSettings

if TYPE_CHECKING:
    from ..scan.scan import Scan
    from .crops.own_scan_settings import MixSettings

TEST_SEED = 1_000_000_009  # crops that neither training nor validation draws
FRAMES, TEST_FRAMES = 16, 6  # projections that the spots come from, to learn and to judge


def fine_tune(
    settings: FineTuneSettings,
    folder: Path | str,
    output: Path | str,
    model: str | Path = "compact",
    device: str = "auto",
    overwrite: bool = False,
) -> Iterator[Progress]:
    """Let a trained model learn from reviewed pairs too, and save what comes of it.

    Checkpoints are in ``OUTPUT.work`` beside the output until it is done; the same call goes on
    where it stopped. Beside ``NAME.safetensors`` come ``NAME.json`` (numbers before and after),
    ``NAME.png`` (pictures) and ``NAME.log.jsonl`` (the curve).

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
    Progress
        `TrainProgress`, and at last a sentence on what it was good for.

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
    pairs = ReviewedPairs(folder, settings.pairs_part)
    job = _Job(settings, output, model, device, overwrite, pairs.recipe)
    if job.finished:
        with job.held():
            yield job.clear_up()
        return
    pairs.check_size(settings.crop_px)
    with job.held():
        job.load()
        tests = ReviewedPairs(folder, 1.0)
        where = "other places of the same reviewed pairs"
        yield from job.learn(pairs, tests, where, lambda *_: [])


def fine_tune_on_scan(
    settings: FineTuneSettings,
    scan: Scan,
    output: Path | str,
    *,
    background: BackgroundSet | None = None,
    simulation: dict[str, Any] | None = None,
    mixing: MixSettings | None = None,
    model: str | Path = "compact",
    device: str = "auto",
    overwrite: bool = False,
) -> Iterator[Progress]:
    """Let a trained model learn the background of a scan, under simulated spots of its geometry.

    It is judged on the same background under the spots of another virtual sample. Otherwise
    as `fine_tune`.

    Parameters
    ----------
    settings : FineTuneSettings
    scan : Scan
        Described: pixel size and distances are needed.
    output : path
        The new model; its numbers and a picture go beside it.
    background : BackgroundSet, optional
        Of the scan; extracted first if not given.
    simulation : dict, optional
        Settings of `SimulateSettings` that differ from the scan's: sample, material, ...
    mixing : MixSettings, optional
        How bright the spots are; by default a median SNR from 0.5 to 10, frame by frame.
    model, device, overwrite
        As in `fine_tune`.

    Yields
    ------
    Progress
        Of the extraction, then `TrainProgress`.

    Raises
    ------
    ScanError
        The scan's geometry is incomplete, or its background is another scan's.
    SettingsError, ModelError, OutputError
        As in `fine_tune`.
    """
    from .crops.own_scan import settings_of_scan

    source = {
        "scan": scan.identity(),
        "projections": state_of_inputs(scan),
        "simulation": simulation or {},
        "mixing": mixing and mixing.to_dict(),
        "background": background and background.identity(),
    }
    job = _Job(settings, output, model, device, overwrite, source)
    if job.finished:
        with job.held():
            yield job.clear_up()
        return
    simulated = settings_of_scan(scan, **(simulation or {}))
    with job.held():
        job.load()
        yield from _on_scan(job, scan, simulated, background, mixing)


def _on_scan(job: _Job, scan: Scan, simulated, background, mixing) -> Iterator[Progress]:
    from .crops.own_scan import MixedScan
    from .crops.own_scan_settings import MixSettings

    kept = job.work / "background.h5"
    if background is None:
        extraction = ExtractionSettings()
        wanted = recipe_hash(Extraction(scan, extraction).recipe())
        if not kept.exists() or recipe_hash(BackgroundSet.load(kept).recipe) != wanted:
            measurement = Measurement(scan, extraction)
            yield from measurement.run()
            measurement.result().save(kept)
        background = BackgroundSet.load(kept)
    mixing = mixing or MixSettings(snr_min=0.5, snr_max=10.0)
    source = MixedScan(background, simulated, mixing, job.settings.pairs_part, FRAMES)
    other = simulated.replace(seed=simulated.seed + 1)
    tests = MixedScan(background, other, mixing, 1.0, TEST_FRAMES)
    where = "simulated spots of another sample over the background of the scan"
    yield from job.learn(source, tests, where, lambda *models: [scan_row(*models, scan)])


class _Job:
    """What both kinds of fine-tuning do alike."""

    def __init__(
        self, settings: FineTuneSettings, output, model, device, overwrite, source: dict[str, Any]
    ) -> None:
        self.settings, self.model, self.device = settings, model, device
        self.output = Path(output).expanduser()
        self.work = work_folder(output)
        if processes() > 1:
            raise SettingsError("Fine-tuning takes one process; start it without torchrun.")
        if self.output.suffix != SUFFIX:
            raise OutputError(
                f"'{self.output.name}' is no name of a model; let it end in {SUFFIX}."
            )
        # What is written before the first result appears, so that a killed run knows its own.
        self._note = self.work / "finished.json"
        self._made = {"settings": settings.to_dict(), "model": _named(model), "source": source}
        there = read_json(self._note)
        ours = there.get("made") == json.loads(json.dumps(self._made))
        self.finished = self._is_there()
        found = [p for p in (self.output, *self._beside) if p.exists()]
        if found and not overwrite and not ((ours and not self.output.exists()) or self.finished):
            raise taken(found[0])

    @property
    def _key(self) -> str:
        """Equal for two fine-tunings that must give the same model."""
        return hashlib.sha256(json.dumps(self._made, sort_keys=True).encode()).hexdigest()[:16]

    def _is_there(self) -> bool:
        """Whether the output is what this very fine-tuning gives."""
        if not self.output.exists():
            return False
        try:
            made = Model.load(self.output, "cpu").training.get("fine_tuning", {})
            return made.get("recipe") == self._key
        except (ModelError, AttributeError):
            return False

    @property
    def _beside(self) -> list[Path]:
        """Numbers, picture and curve."""
        return [self.output.with_suffix(end) for end in (".json", ".png", ".log.jsonl")]

    def held(self) -> AbstractContextManager[None]:
        """The block makes the output: another process that wants to is told so."""
        make_folder(self.output.parent)
        return alone(self.output)

    def load(self) -> None:
        """The model to begin with; crops must suit its network."""
        self.start = Model.load(self.model, self.device)
        check_crop_size(self.start.network, self.settings.crop_px)
        try:
            self.work.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(self.work, error) from error

    def learn(
        self,
        source: Source,
        tests: Source,
        where: str,
        more_rows: Callable[[Model, Model], list[Row]],
    ) -> Iterator[Progress]:
        """Train, save the best, compare it with the model it began as."""
        start, s = self.start, self.settings
        known = ("iterations", "learning_rate", "warmup", "batch", "validation_crops",
                 "validate_every", "checkpoint_every", "seed")  # fmt: skip
        training = TrainSettings(
            network=start.network, block_px=start.block_px, median_window=start.median_window,
            report_every=1, **{name: getattr(s, name) for name in known},
        )  # fmt: skip
        synthesis = SynthesisSettings(crop_px=s.crop_px)
        for step in train(training, self.work, synthesis, self.device, start, source):
            yield step
            if step.end == STOPPED:
                return
        best = Model.load(self.work / f"best{SUFFIX}", self.device)
        with_median = synthesis.replace(no_median=0.0)
        crops = [tests.mixed(with_median, TEST_SEED, k) for k in range(s.validation_crops)]
        numbers = compare(start, best, crops)
        best.training["fine_tuning"] = {"judged_on": where, **numbers, "recipe": self._key}
        # The model comes last: while it is missing, the same command makes the rest again.
        new = self.work / f"finished{SUFFIX}"
        best.save(new)
        write_atomically(self._note, json.dumps({"made": self._made}, indent=1))
        path, picture, log = self._beside
        write_numbers(path, best.training["fine_tuning"])
        write_picture(picture, [*more_rows(start, best), *crop_rows(start, best, crops)])
        try:
            write_atomically(log, (self.work / "log.jsonl").read_bytes())
            os.replace(new, self.output)
        except OSError as error:
            raise cannot_write(self.output, error) from error
        yield self.clear_up()

    def clear_up(self) -> Progress:
        """Checkpoints have done their work; the note goes last, for it tells that they have."""
        count = self.settings.iterations
        numbers = read_json(self._beside[0])
        for path in self.work.iterdir() if self.work.is_dir() else ():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path != self._note:
                remove(path)
        remove(self._note)
        with contextlib.suppress(OSError):  # something of the user's is in it
            self.work.rmdir()
        return Progress(count, count, verdict(numbers) if "before" in numbers else "")


def _named(model: str | Path) -> str:
    """A model by its name, or by what its file holds."""
    path = Path(model).expanduser()
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else str(model)


def work_folder(output: Path | str) -> Path:
    """Where the training that makes a model keeps its files until it is done."""
    output = Path(output).expanduser()
    return output.with_name(output.name + ".work")
