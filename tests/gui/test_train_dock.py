"""The Train dock: a process of its own, followed by its folder, stopped and resumed at will."""

from __future__ import annotations

import json
import os
import sys
import textwrap

import numpy as np
import pytest
from clicking import click
from qtpy.QtWidgets import QFileDialog, QMessageBox

from napari_labdct.gui.app import preferences
from napari_labdct.gui.app.layers import kind_of
from napari_labdct.gui.train import process as train_process
from napari_labdct.gui.train.form import REVIEWED, SCAN, SCRATCH
from napari_labdct.gui.train.plot import stretched
from napari_labdct.gui.train.process import preparing
from napari_labdct.gui.train.runs import Curve, LogTail, Run, alive, free_path
from napari_labdct.gui.train.tasks import Plan, paced
from napari_labdct.training.crops.reviewed_pairs import FineTuneSettings
from napari_labdct.training.settings import TrainSettings

pytestmark = pytest.mark.gui

# Writes what `labdct train` writes into its folder, without learning anything.
FAKE = textwrap.dedent(
    """
    import json, os, sys, time
    from pathlib import Path
    import numpy as np

    folder, total, mode = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    (folder / "validation").mkdir(parents=True, exist_ok=True)
    (folder / "recipe.json").write_text("{}")
    last = folder / "last.json"
    first = json.loads(last.read_text()) if last.exists() else 0
    for done in range(first + 1, total + 1):
        if mode == "slow":
            time.sleep(0.03)
        validation = {}
        if done % 5 == 0:
            f1 = 0.5 + 0.04 * min(done // 5, 3)
            validation = {"loss": 1 / done, "f1": f1, "precision": 0.9, "recall": 0.8,
                          "threshold": 96}
            crops = np.full((3, 32, 32), done, np.uint8)
            crops[:, 8:12, 8:12] = 200
            np.savez(folder / "validation" / f"{done:06d}.npz", frame=crops.astype("f4"),
                     output=crops, target=crops)
            (folder / "best.safetensors").write_bytes(b"best %d" % done)
        stop = (folder / "stop").exists()
        end = "finished" if done == total else ""
        line = {"done": done, "total": total, "stage": "frozen" if done < 6 else "unfrozen",
                "loss": 2 / done, "learning_rate": 1e-3, "seconds": 0.1 * done,
                "validation": validation}
        line |= {"best": True} if validation and done <= 15 else {}
        line |= {"end": end} if end else {}
        with (folder / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\\n")
        if mode == "full" and done == 7:
            print("some progress\\rlabdct: 'last.safetensors' cannot be written (no space left); "
                  "free some space.", file=sys.stderr)
            sys.exit(1)
        if mode == "killed" and done == 7:
            os.kill(os.getpid(), 9)
        if mode == "bug" and done == 7:
            raise RuntimeError("unforeseen")
        if stop:
            last.write_text(str(done))
            (folder / "stop").unlink()
            sys.exit(0)
    """
)


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Let every training be the fake one; ``fake(mode, total)`` says which."""
    script = tmp_path / "fake.py"
    script.write_text(FAKE)

    def choose(mode: str = "quick", total: int = 20) -> None:
        def program(run: Run) -> list[str]:
            return [sys.executable, str(script), str(run.files), str(total), mode]

        monkeypatch.setattr(Run, "program", property(program))

    choose()
    return choose


@pytest.fixture
def panel(dock, wait):
    made = dock("Train")
    jobs = [made._around, made.controller.list_job, made._backgrounds.job]
    wait(lambda: not any(job.running for job in jobs))
    made.form.kind.setCurrentText(SCRATCH)
    made.form.budget.setCurrentText("a number of iterations")
    yield made
    job = made.controller.job
    if job.running:
        job.cancel()
        wait(lambda: not job.running)
    helpers = (made.controller.list_job, made.controller.pictures_job, made.controller.file_job)
    wait(lambda: not any(helper.running for helper in helpers))


@pytest.fixture
def train(panel, wait):
    """Press Train and wait for the end."""

    def run() -> str:
        click(panel.run_bar.button)
        wait(lambda: not panel.controller.job.running)
        wait(lambda: not panel.controller.pictures_job.running)
        return panel.controller.job.state

    return run


# ----------------------------------------------------------------- what needs no window


def test_a_log_is_read_as_it_grows_and_begun_anew_when_it_is_cut(tmp_path):
    tail = LogTail(Run(tmp_path))
    log = tmp_path / "log.jsonl"
    assert not tail.read()

    def line(done: int, **more) -> str:
        made = {"done": done, "total": 9, "stage": "whole network", "loss": 1.0, "seconds": done}
        return json.dumps(made | more) + "\n"

    log.write_text(line(1) + line(2)[:20])
    assert tail.read()
    assert tail.curve.iterations == [1]
    log.write_text(line(1) + line(2) + line(3, validation={"f1": 0.5}, best=True))
    assert tail.read()
    assert tail.curve.iterations == [1, 2, 3]
    assert tail.curve.best_numbers == {"f1": 0.5}
    assert tail.curve.seconds_each == 1
    # a resumed training drops what came after its checkpoint
    new = tmp_path / "new"
    new.write_text(line(1) + line(2) + line(3) + line(4))
    os.replace(new, log)
    assert tail.read_all().iterations == [1, 2, 3, 4]
    assert tail.curve.best is None
    assert not tail.curve.complete
    with log.open("a") as file:
        file.write(line(9, end="no better for long"))
    assert tail.read_all().complete


def test_a_line_that_is_no_report_is_left_out(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"done": 1\nnothing\n{"done": 2, "total": 3}\n')
    curve = LogTail(Run(tmp_path)).read_all()
    assert (curve.iterations, curve.total) == ([2], 3)
    assert np.isnan(curve.loss[0])


def test_the_time_becomes_iterations_with_the_speed_measured_here(home):
    plan = Plan("iron", "train", TrainSettings(), (), 600.0, ("--batch=4",))
    assert plan.iterations is None
    plan.remember_speed(0.5)
    assert plan.iterations == 1020  # 0.85 x 600 s / 0.5 s
    assert "--iterations=1020" in plan.arguments
    other = Plan("iron", "train", TrainSettings(), (), 600.0, ("--batch=8",))
    assert other.iterations is None


def test_a_short_training_is_validated_as_often_as_a_long_one():
    short = paced(TrainSettings(), 200)
    assert (short.validate_every, short.warmup, short.report_every) == (10, 20, 2)
    by_hand = paced(TrainSettings(validate_every=77), 200)
    assert by_hand.validate_every == 77
    tune = paced(FineTuneSettings(), 60)
    assert (tune.iterations, tune.validate_every, tune.warmup) == (60, 3, 6)


def test_what_goes_on_before_the_first_iteration_is_told():
    assert preparing("") == "Starting"
    assert (
        preparing("background:  34%|###  | 3/9\rbackground:  56%|#### | 5/9") == "Preparing, 56 %"
    )


def test_pictures_are_grey_levels_in_rows_however_they_were_turned():
    counts = np.rot90(np.linspace(100, 900, 48, dtype=np.float32).reshape(6, 8))
    grey = stretched(counts)
    assert grey.flags.c_contiguous
    assert (grey.dtype, grey.min(), grey.max()) == (np.uint8, 0, 255)
    np.testing.assert_array_equal(stretched(grey), grey)


def test_the_dead_are_not_alive():
    import subprocess

    process = subprocess.Popen([sys.executable, "-c", "pass"])
    pid = process.pid
    assert alive(os.getpid())
    process.wait()
    assert not alive(pid)
    assert not alive(0)


def test_names_of_files_hold_what_every_system_knows(tmp_path):
    (tmp_path / "iron_50_%.h".replace("%", "_")).touch()
    assert free_path(tmp_path, "iron: 50 / a", ".h").name == "iron__50___a.h"
    (tmp_path / "x").touch()
    assert free_path(tmp_path, "x").name == "x-2"
    assert free_path(tmp_path, "///").name == "model"
    assert Curve().best_numbers == {}


# ------------------------------------------------------------------------- in the dock


def test_a_training_shows_its_curve_best_and_pictures(panel, train, fake):
    assert train() == "done"
    curve = panel.controller.job.curve
    assert curve.iterations == list(range(1, 21))
    assert [name for _, name in curve.stages] == ["frozen", "unfrozen"]
    assert "best F1 0.620 at iteration 15" in panel.results.headline.text()
    assert "simulated crops it does not learn from" in panel.results.meaning.text()
    assert panel.results.isVisibleTo(panel)
    names = [line.name for line in panel.results.loss_plot.curves]
    assert names == ["training loss", "validation loss"]
    np.testing.assert_allclose(panel.results.loss_plot.curves[0].y[0], np.log10(2.0))
    assert "iteration 20" in panel.results.triptych.toolTip()
    assert not panel.results.triptych.views["output"].pixmap().isNull()
    assert "Done: 20 steps" in panel.run_bar.label.text()
    assert not panel.plan_section.title.isChecked()
    # another one goes into a folder of its own
    first = panel.controller.job.run.folder
    assert train() == "done"
    assert panel.controller.job.run.folder != first


def test_stop_and_resume_go_on_along_the_same_curve(panel, wait, fake):
    fake("slow", 40)
    job = panel.controller.job
    click(panel.run_bar.button)
    assert not panel.form.isEnabled()
    wait(lambda: job.curve.done >= 3)
    assert panel.run_bar.button.text() == "Stop"
    click(panel.run_bar.button)
    assert panel.run_bar.button.text() == "Stopping..."
    wait(lambda: not job.running)
    assert job.state == "stopped"
    done = job.curve.done
    assert 3 <= done < 40
    assert f"Stopped at {done} of 40" in panel.run_bar.label.text()
    assert panel.form.isEnabled()
    assert not (job.run.files / "stop").exists()
    click(panel.run_bar.resume_button)
    wait(lambda: not job.running)
    assert job.state == "done"
    assert job.curve.iterations == list(range(1, 41))


@pytest.mark.parametrize(
    ("mode", "words", "details"),
    [
        ("full", "'last.safetensors' cannot be written (no space left); free some space.", False),
        ("killed", "ended from outside, perhaps because memory was full", False),
        ("bug", "RuntimeError: unforeseen", True),
    ],
)
def test_a_failure_is_said_in_one_sentence_and_can_be_resumed(
    panel, train, fake, mode, words, details
):
    fake(mode)
    assert train() == "failed"
    assert words in panel.run_bar.label.text()
    assert "labdct:" not in panel.run_bar.label.text()
    assert bool(panel.controller.job.details) == details
    assert panel.run_bar.resume_button.isVisibleTo(panel)
    assert panel.controller.job.curve.done == 7
    fake("quick")
    click(panel.run_bar.resume_button)
    assert panel.controller.job.error == ""


def test_a_python_that_is_gone_is_said(panel, train, fake, monkeypatch):
    monkeypatch.setattr(Run, "program", property(lambda run: ["/nowhere/python"]))
    assert train() == "failed"
    assert "cannot be started" in panel.run_bar.label.text()


def test_a_folder_that_cannot_be_written_is_said(panel, train, fake, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setattr(preferences, "trainings_folder", lambda: tmp_path / "file" / "runs")
    assert train() == "failed"
    assert "choose another folder or free some space" in panel.run_bar.label.text()


def test_the_speed_is_measured_before_the_first_training(panel, wait, fake):
    panel.form.budget.setCurrentText("about 10 minutes")
    assert "first iterations measure" in panel.form.note.text()
    click(panel.run_bar.button)
    assert panel.controller.measuring
    assert not panel.results.isVisibleTo(panel)
    wait(lambda: not panel.controller.job.running)
    assert panel.controller.job.state == "done"
    assert "--iterations=5100" in panel.controller.job.run.arguments  # 0.1 s each
    assert "5100 iterations" in panel.form.note.text()
    assert len(list(preferences.trainings_folder().glob("[!.]*"))) == 1


@pytest.mark.parametrize("measured", [2, 6])
def test_stopping_the_measurement_says_what_is_kept(panel, train, wait, fake, measured):
    assert train() == "done"
    first = panel.controller.job.run
    wait(lambda: panel.runs.runs.count() == 1 and not panel.controller.list_job.running)
    fake("slow", 400)
    panel.form.budget.setCurrentText("about 10 minutes")
    preferences.save_last("train_speed", {})  # that training told it
    panel.form.changed.emit()
    click(panel.run_bar.button)
    job = panel.controller.job
    assert panel.controller.measuring
    if measured > 4:
        wait(lambda: job.curve.done >= measured)
    click(panel.run_bar.button)
    wait(lambda: not job.running)
    said = panel.status.text()
    assert "nothing was learned" in said
    assert "earlier runs and models are as they were" in said
    kept = "is kept" in said
    assert kept == ("5100 iterations" in panel.form.note.text())
    assert kept != ("measures anew" in said)
    if measured > 4:
        assert "0.1 s an iteration" in said
        assert "5100 iterations" in panel.form.note.text()
    # what was shown before is shown again, and the list is as it was
    assert job.run.folder == first.folder
    assert panel.results.isVisibleTo(panel)
    wait(lambda: "best F1 0.620" in panel.results.headline.text())
    assert panel.runs.runs.count() == 1


def test_a_stop_while_a_slow_measurement_ends_is_a_stop(panel, wait, fake):
    fake("slow", 400)
    panel.form.budget.setCurrentText("about 10 minutes")
    click(panel.run_bar.button)
    job = panel.controller.job
    wait(lambda: job.curve.done >= 5)
    click(panel.run_bar.button)
    job.curve.seconds[-1] = 1000.0  # longer than a measurement may take
    wait(lambda: not job.running)
    assert job.run is None
    assert "nothing was learned" in panel.status.text()


def test_the_dock_may_go_and_the_training_stays(panel, viewer, wait, fake, dock):
    fake("slow", 60)
    job = panel.controller.job
    click(panel.run_bar.button)
    wait(lambda: job.curve.done >= 2)
    viewer.window.remove_dock_widget(panel)
    again = dock("Train")
    assert again is not panel
    assert again.controller.job is job
    wait(lambda: len(again.results.loss_plot.curves[0].x) >= 4)
    assert again.run_bar.button.text() == "Stop"
    assert not again.form.isEnabled()
    wait(lambda: not again._around.running)


def test_closing_the_window_stops_with_a_checkpoint(panel, viewer, wait, fake):
    fake("slow", 400)
    job = panel.controller.job
    click(panel.run_bar.button)
    wait(lambda: job.curve.done >= 2)
    run = job.run
    panel.session.close()
    assert len(train_process.leaving) == 1
    wait(lambda: not train_process.leaving)
    assert (run.folder / "last.json").exists()
    assert Run.load(run.folder).ended == "stopped"
    assert not alive(run.pid)


def test_a_training_that_may_outlive_the_window_is_found_again(panel, viewer, wait, fake):
    fake("slow", 400)
    panel.form.keep_going.setChecked(True)
    job = panel.controller.job
    click(panel.run_bar.button)
    wait(lambda: job.curve.done >= 2)
    run = job.run
    job.close()  # as the closing window does
    assert not train_process.leaving
    assert alive(run.pid)
    done = job.curve.done
    panel.controller.list_runs()
    wait(lambda: bool(panel.runs.listed) and panel.runs.listed[0].state == "running")
    click(panel.runs.title)  # it is folded
    panel.runs.runs.setCurrentRow(0)
    click(panel.runs.show_button)
    assert job.state == "running"
    wait(lambda: job.curve.done > done + 3)
    click(panel.run_bar.button)
    wait(lambda: not job.running)
    assert job.state == "stopped"
    assert not alive(run.pid)


def test_earlier_runs_are_listed_shown_resumed_and_deleted(panel, wait, fake, monkeypatch):
    fake("slow", 30)
    job = panel.controller.job
    click(panel.run_bar.button)
    wait(lambda: job.curve.done >= 6)
    click(panel.run_bar.button)
    wait(lambda: not job.running)
    click(panel.run_bar.discard_button)
    assert job.run is None
    assert not panel.results.isVisibleTo(panel)
    wait(lambda: panel.runs.runs.count() == 1 and not panel.controller.list_job.running)
    assert "stopped" in panel.runs.runs.item(0).text()
    assert "of 30 iterations, best F1 0." in panel.runs.runs.item(0).text()
    assert "1, 1 can go on" in panel.runs.summary.text()
    click(panel.runs.title)  # it is folded
    panel.runs.runs.setCurrentRow(0)
    click(panel.runs.show_button)
    assert job.state == "stopped"
    click(panel.run_bar.resume_button)
    wait(lambda: not job.running)
    assert job.state == "done"
    wait(lambda: "finished, 30 of 30" in panel.runs.runs.item(0).text())
    panel.runs.runs.setCurrentRow(0)
    folder = job.run.folder
    monkeypatch.setattr(QMessageBox, "question", lambda *a: QMessageBox.StandardButton.Yes)
    click(panel.runs.delete_button)
    wait(lambda: panel.runs.runs.count() == 0)
    assert not folder.exists()


def test_a_training_of_the_command_line_is_added(panel, wait, fake, tmp_path):
    folder = tmp_path / "by_hand"
    folder.mkdir()
    panel.add_folder(folder)
    assert "holds no training" in panel.status.text()
    (folder / "recipe.json").write_text("{}")
    (folder / "log.jsonl").write_text('{"done": 5, "total": 20, "loss": 1, "seconds": 1}\n')
    panel.add_folder(folder)
    wait(lambda: panel.runs.runs.count() == 1)
    assert panel.runs.runs.item(0).text().startswith("by_hand")
    click(panel.runs.title)  # it is folded
    panel.runs.runs.setCurrentRow(0)
    click(panel.runs.show_button)
    assert panel.controller.job.resumable  # labdct train FOLDER goes on with it


def test_the_best_model_is_saved_and_the_crops_become_layers(
    panel, train, viewer, wait, fake, add_scan, scan, tmp_path, monkeypatch
):
    train()
    target = tmp_path / "mine"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *a: (str(target), ""))
    click(panel.results.save_button)
    wait(lambda: "Saved as" in panel.status.text())
    assert (tmp_path / "mine.safetensors").read_bytes() == b"best 20"
    panel.results.as_layers.setChecked(True)
    names = [layer.name for layer in viewer.layers]
    assert names == ["validation [x]", "validation [output]", "validation [y_c]"]
    assert viewer.layers[1].data.shape == (3 * 32 + 2 * 8, 32)
    assert viewer.layers[1].translate[1] > viewer.layers[0].translate[1] + 32
    assert panel.session.stacks() == []  # nobody may take a crop for a scan
    assert kind_of(viewer.layers[0]) == "validation"
    panel.results.as_layers.setChecked(False)
    assert len(viewer.layers) == 0
    # beside a scan they stand at its right, as high as it is
    stack = add_scan(scan)
    panel.results.as_layers.setChecked(True)
    crops = viewer.layers["validation [x]"]
    assert crops.units == stack.units[-2:]
    assert crops.extent.world[0, 1] > stack.extent.world[1, 2]
    height = stack.data.shape[1] * stack.scale[1]
    np.testing.assert_allclose(crops.data.shape[0] * crops.scale[0], height)


def test_what_is_missing_is_said_before_anything_runs(panel, add_scan, scan, tmp_path):
    form = panel.form
    form.kind.setCurrentText(SCAN)
    assert form.note.text() == "Open the scan that the model is for."
    assert not panel.run_bar.button.isEnabled()
    add_scan(scan)
    assert "is not on disk" in form.note.text()
    form.kind.setCurrentText(REVIEWED)
    assert "folder of training pairs" in form.note.text()
    form.pairs.setText(str(tmp_path))
    assert panel.run_bar.button.isEnabled()
    plan = form.plan()
    assert plan.command == "finetune"
    assert plan.arguments[0] == str(tmp_path)
    assert plan.arguments[1:3] == ("--model", "compact")


def test_a_model_for_my_scan_says_scan_background_and_geometry(panel, add_scan, scan, tmp_path):
    from napari_labdct.scan.description import ScanDescription

    source = tmp_path / "iron.tif"
    source.touch()
    described = ScanDescription(
        pixel_um=3.36, source_sample_mm=11, sample_detector_mm=14, material="Fe"
    )
    layer = add_scan(scan.replace(source=str(source), description=described))
    form = panel.form
    form.kind.setCurrentText(SCAN)
    assert "Fe, grains of" in form.spots_section.summary.text()
    form.set_backgrounds([("iron", tmp_path / "iron.h5")])
    form.background.setCurrentIndex(1)
    plan = form.plan()
    words = " ".join(plan.arguments)
    assert f"--scan {source} --background {tmp_path / 'iron.h5'}" in words
    assert "--sample-detector-mm" not in words  # the scan knows it
    assert "--material=Fe" in words
    assert plan.title == layer.name
    # changed in the Scan dock: the form follows
    session = panel.session
    session.set_scan(layer, session.scan().replace(description=described.replace(material="Al")))
    assert "--material=Al" in form.plan().arguments


def test_the_real_training_runs_in_the_dock_stops_and_goes_on(panel, dock, wait, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    form, job = panel.form, panel.controller.job
    form.train.set_settings(
        TrainSettings(
            batch=1, warmup=0, report_every=1, validate_every=2, validation_crops=2,
            checkpoint_every=2,
        )
    )  # fmt: skip
    form.synthesis.controls["crop_px"].widget.setValue(32)
    form.iterations.setValue(400)
    form.name.setText("tiny")
    click(panel.run_bar.button)
    wait(lambda: (job.run.folder / "recipe.json").exists() or not job.running)  # torch is there
    wait(lambda: job.curve.done >= 1 or not job.running)  # and the kernels
    wait(lambda: job.curve.done >= 2 or not job.running)
    click(panel.run_bar.button)
    wait(lambda: not job.running)
    assert (job.state, job.error) == ("stopped", "")
    done = job.curve.done
    assert done < 400
    recipe = json.loads((job.run.folder / "recipe.json").read_text())
    assert recipe["synthesis"]["crop_px"] == 32
    # the end may move until the rate falls, and it falls from the start here: the same command
    click(panel.run_bar.resume_button)
    wait(lambda: job.curve.done > done or not job.running)
    click(panel.run_bar.button)
    wait(lambda: not job.running)
    assert (job.state, job.error) == ("stopped", "")
    assert job.curve.iterations == list(range(1, job.curve.done + 1))
    assert job.run.best is not None
    # and its best model works in the Denoise dock
    click(panel.results.use_button)
    wait(lambda: not panel.controller.file_job.running)
    denoise = dock("Denoise")
    wait(lambda: denoise.network.choice.card is not None)
    assert denoise.network.choice.model == "tiny"
    assert denoise.network.choice.card.info["training"]["synthesis"]["crop_px"] == 32
