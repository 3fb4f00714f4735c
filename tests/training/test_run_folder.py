"""What a training leaves on disk, and what a crash, a stop or a full disk does to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from napari_labdct import cli
from napari_labdct.core.errors import OutputError
from napari_labdct.networks import model as model_module
from napari_labdct.networks.library import model_card
from napari_labdct.networks.model import Model
from napari_labdct.training.crops import simulated_scans
from napari_labdct.training.loop import train
from napari_labdct.training.run_folder import RunFolder, read_log, read_recipe, stopping_on_signals
from napari_labdct.training.settings import SynthesisSettings, TrainSettings

SYNTHESIS = SynthesisSettings(crop_px=32, snr_min=5.0, no_median=0.0, near_field=0.0)
QUICK = TrainSettings(
    iterations=6, batch=2, warmup=2, validation_crops=2, validate_every=3, checkpoint_every=2,
    report_every=1, seed=3,
)  # fmt: skip


def _curve(folder):
    """The log without what depends on the clock."""
    lines = read_log(folder)
    return [{k: v for k, v in line.items() if k not in ("seconds", "waited")} for line in lines]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A training that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    list(train(QUICK, folder, SYNTHESIS, "cpu"))
    return folder


def test_the_folder_tells_the_whole_training(whole):
    lines = read_log(whole)
    assert [line["done"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert {line["total"] for line in lines} == {6}
    assert {line["stage"] for line in lines} == {"whole network"}
    assert [bool(line["validation"]) for line in lines] == [False, False, True] * 2
    assert lines[2]["best"] is True
    assert lines[-1]["end"] == "finished"
    numbers = {"loss", "f1", "precision", "recall", "pixel_iou", "threshold", "merged", "spots"}
    assert numbers | {"recall_by_snr"} <= set(lines[2]["validation"])
    assert all(line["waited"] >= 0 for line in lines)
    recipe = read_recipe(whole)
    assert TrainSettings.from_dict(recipe["train"]) == QUICK
    assert SynthesisSettings.from_dict(recipe["synthesis"]) == SYNTHESIS
    assert [p.name for p in sorted((whole / "validation").iterdir())] == [
        "000003.npz", "000006.npz",
    ]  # fmt: skip
    with np.load(whole / "validation" / "000006.npz") as pictures:
        assert {k: pictures[k].ndim for k in pictures} == {"frame": 3, "output": 3, "target": 3}
        assert pictures["output"].dtype == np.uint8
    assert not (whole / "stop").exists()


def test_a_killed_training_goes_on_along_the_same_curve(whole, tmp_path):
    """Killed as hard as can be after iteration 5, with half a line in the log."""
    code = (
        "import os, signal, sys, torch; torch.set_num_threads(1)\n"
        "from napari_labdct.training.loop import train\n"
        "from napari_labdct.training.settings import TrainSettings\n"
        "from napari_labdct.training.crops.synthesis import SynthesisSettings\n"
        "settings = TrainSettings.from_dict(eval(sys.argv[2]))\n"
        "synthesis = SynthesisSettings.from_dict(eval(sys.argv[3]))\n"
        "for step in train(settings, sys.argv[1], synthesis, 'cpu'):\n"
        "    if step.done == 5: os.kill(os.getpid(), getattr(signal, 'SIGKILL', signal.SIGTERM))\n"
    )
    arguments = [str(tmp_path), repr(QUICK.to_dict()), repr(SYNTHESIS.to_dict())]
    killed = subprocess.run([sys.executable, "-c", code, *arguments], check=False)
    assert killed.returncode != 0
    assert [line["done"] for line in read_log(tmp_path)] == [1, 2, 3, 4, 5]
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"done": 6, "to')
    rest = list(train(QUICK, tmp_path, SYNTHESIS, "cpu"))
    assert [step.done for step in rest] == [5, 6]
    assert _curve(tmp_path) == _curve(whole)
    ends = [Model.load(f / "best.safetensors", "cpu") for f in (whole, tmp_path)]
    assert ends[0].sha256 == ends[1].sha256


def test_a_checkpoint_between_two_reports_loses_no_loss(tmp_path):
    """The mean of a report is over all its iterations, also those before the stop."""
    settings = QUICK.replace(report_every=3)
    list(train(settings, tmp_path / "a", SYNTHESIS, "cpu"))
    (tmp_path / "b").mkdir()
    for step in train(settings.replace(report_every=1), tmp_path / "c", SYNTHESIS, "cpu"):
        if step.done == 2:
            (tmp_path / "b" / "stop").touch()
            break
    steps = list(train(settings, tmp_path / "b", SYNTHESIS, "cpu"))
    assert (steps[-1].done, steps[-1].end) == (1, "stopped")
    list(train(settings, tmp_path / "b", SYNTHESIS, "cpu"))
    assert _curve(tmp_path / "a") == _curve(tmp_path / "b")


@pytest.mark.parametrize("how", ["file", "SIGTERM", "SIGINT"])
def test_a_wish_to_stop_ends_after_the_iteration(tmp_path, how):
    before = signal.getsignal(signal.SIGINT)
    with stopping_on_signals(tmp_path):
        steps = []
        for step in train(QUICK, tmp_path, SYNTHESIS, "cpu"):
            steps.append(step)
            if step.done == 3:
                if how == "file":
                    (tmp_path / "stop").touch()
                else:
                    os.kill(os.getpid(), getattr(signal, how))
    assert (steps[-1].done, steps[-1].end) == (4, "stopped")
    assert not (tmp_path / "stop").exists()
    assert signal.getsignal(signal.SIGINT) is before
    rest = list(train(QUICK, tmp_path, SYNTHESIS, "cpu"))
    assert [step.done for step in rest] == [5, 6]


def test_only_the_first_of_several_processes_asks(tmp_path):
    with stopping_on_signals(tmp_path, first=False):
        os.kill(os.getpid(), signal.SIGTERM)
    assert not (tmp_path / "stop").exists()


def test_a_second_interrupt_leaves_no_wish_behind(tmp_path):
    """Else the same command, given again at once, would stop after one iteration."""
    # windows of earlier tests may have left a handler of their own
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupted_twice():
        with stopping_on_signals(tmp_path):
            signal.raise_signal(signal.SIGINT)
            assert (tmp_path / "stop").exists()
            signal.raise_signal(signal.SIGINT)

    try:
        with pytest.raises(KeyboardInterrupt):
            interrupted_twice()
    finally:
        signal.signal(signal.SIGINT, before or signal.default_int_handler)
    assert not (tmp_path / "stop").exists()


def test_a_wish_to_stop_of_long_ago_was_meant_for_another(tmp_path):
    (tmp_path / "stop").touch()
    os.utime(tmp_path / "stop", (time.time() - 3600,) * 2)
    steps = list(train(QUICK.replace(iterations=2), tmp_path, SYNTHESIS, "cpu"))
    assert steps[-1].end == "finished"


def test_a_full_disk_keeps_the_checkpoint_and_says_so(whole, tmp_path, monkeypatch):
    running = train(QUICK, tmp_path, SYNTHESIS, "cpu")
    assert [next(running).done for _ in range(2)] == [1, 2]
    before = (tmp_path / "last.safetensors").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(model_module.os, "fsync", full)
        with pytest.raises(OutputError, match=r"No space left on device\) and stays as it was"):
            list(running)
    assert (tmp_path / "last.safetensors").read_bytes() == before
    assert not list(tmp_path.glob("*.tmp"))
    list(train(QUICK, tmp_path, SYNTHESIS, "cpu"))
    assert _curve(tmp_path) == _curve(whole)


def test_a_log_that_cannot_be_written_is_said(tmp_path):
    folder = RunFolder(tmp_path)
    (tmp_path / "log.jsonl").mkdir()
    with pytest.raises(OutputError, match=r"log\.jsonl"):
        folder.log({"done": 1})
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="choose another folder"):
        RunFolder(tmp_path / "file" / "training")


def test_only_the_newest_pictures_are_kept(tmp_path):
    folder = RunFolder(tmp_path)
    picture = {"frame": np.zeros((1, 4, 4), np.float32)}
    for iteration in range(100, 2600, 100):
        folder.keep_pictures(iteration, picture)
    kept = sorted(int(p.stem) for p in (tmp_path / "validation").iterdir())
    assert kept == list(range(600, 2600, 100))
    folder.begin({}, 1000)  # what came after iteration 1000 will come again
    kept = sorted(int(p.stem) for p in (tmp_path / "validation").iterdir())
    assert kept == [600, 700, 800, 900, 1000]


# --- the command ---------------------------------------------------------------------------

SMALL = ["--batch", "2", "--validation-crops", "1", "--validate-every", "2", "--device", "cpu"]


def test_the_command_trains_and_remembers_its_settings(tmp_path, capsys):
    folder = tmp_path / "mine"
    assert cli.main(["train", str(folder), "--iterations", "2", *SMALL, "--crop-px", "32"]) == 0
    printed = capsys.readouterr()
    assert printed.out.strip() == str(folder / "best.safetensors")
    assert "validation F1" in printed.err
    assert "finished at step 2" in printed.err
    # Without flags it goes on as it was; here nothing is left to do.
    assert cli.main(["train", str(folder)]) == 0
    assert read_recipe(folder)["train"]["batch"] == 2
    assert read_recipe(folder)["synthesis"]["crop_px"] == 32
    assert cli.main(["train", str(folder), "--batch", "3"]) == 1
    assert "belongs to a training with other settings" in capsys.readouterr().err
    assert json.loads((folder / "recipe.json").read_text())["train"]["batch"] == 2


def test_a_training_may_begin_with_a_model(tmp_path, model):
    model.save(tmp_path / "start.safetensors")
    command = ["train", str(tmp_path / "t"), "--start-from", str(tmp_path / "start.safetensors")]
    more = [*SMALL, "--crop-px", "32", "--frozen-iterations", "1"]
    assert cli.main([*command, "--iterations", "2", *more]) == 0
    assert [line["stage"] for line in read_log(tmp_path / "t")] == ["unfrozen"]
    assert (
        read_recipe(tmp_path / "t")["start_from"]
        == Model.load(tmp_path / "start.safetensors", "cpu").sha256
    )
    # The model is found again without saying it.
    assert cli.main(["train", str(tmp_path / "t")]) == 0


def test_the_spots_of_simulated_scans_are_made_once(tmp_path, monkeypatch):
    """The command makes the file of windows, a training remembers it, and the card says so."""
    few = simulated_scans.SimulatedScansSettings(scans=1, frames=1, windows=2, window_px=64)
    make = simulated_scans.make_windows
    monkeypatch.setattr(simulated_scans, "make_windows", lambda _, path: make(few, path, threads=1))
    windows, folder = tmp_path / "windows.npz", tmp_path / "t"
    command = ["train", str(folder), "--simulated-scans", str(windows), "--iterations", "2"]
    assert cli.main([*command, *SMALL, "--crop-px", "32"]) == 0
    made = windows.stat().st_mtime_ns
    assert cli.main(["train", str(folder)]) == 0
    assert windows.stat().st_mtime_ns == made
    assert read_recipe(folder)["simulated_scans"]["settings"]["scans"] == 1
    assert "the spots of 1 simulated scans" in model_card(
        Model.load(folder / "best.safetensors", "cpu").info
    )


def test_simulated_scans_are_made_by_one_process(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    command = ["train", str(tmp_path / "t"), "--simulated-scans", str(tmp_path / "w.npz")]
    assert cli.main(command) == 1
    assert "begin once without torchrun" in capsys.readouterr().err


def test_one_source_at_a_time(tmp_path, capsys):
    command = ["train", str(tmp_path / "t"), "--pairs", "p", "--simulated-scans", "w.npz"]
    assert cli.main(command) == 1
    assert "not with both at once" in capsys.readouterr().err
