"""Fine-tuning on one's own scan: its background, its geometry, and honest numbers."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from napari_labdct import cli
from napari_labdct.background import BackgroundSet, ExtractionSettings, Measurement
from napari_labdct.core.errors import OutputError, ScanError, SettingsError
from napari_labdct.io import write_frames
from napari_labdct.networks.model import Model
from napari_labdct.scan.description import ScanDescription
from napari_labdct.scan.scan import Scan
from napari_labdct.training import before_after
from napari_labdct.training.crops.reviewed_pairs import FineTuneSettings
from napari_labdct.training.finetuning import fine_tune_on_scan
from napari_labdct.training.run_folder import read_log

ROWS, COLS, COUNT = 96, 110, 9
QUICK = FineTuneSettings(
    iterations=2, batch=2, crop_px=64, warmup=1, validation_crops=2, validate_every=2,
    checkpoint_every=1,
)  # fmt: skip
SAMPLE = {"diameter_um": 60.0, "height_um": 60.0, "mean_grain_um": 30.0, "families": 2}
GEOMETRY = {"pixel_um": 60.0, "source_sample_mm": 11.0, "sample_detector_mm": 11.0}


@pytest.fixture(scope="module")
def scan():
    """A sloping background with noise; what spots it has does not matter."""
    rng = np.random.default_rng(1)
    level = np.broadcast_to(np.linspace(300, 500, COLS), (COUNT, ROWS, COLS))
    frames = rng.poisson(level).astype(np.uint16)
    omega = np.arange(COUNT) * 40.0
    return Scan(frames, omega, ScanDescription(**GEOMETRY, material="Al"), name="mine")


@pytest.fixture(scope="module")
def background(scan):
    measurement = Measurement(scan, ExtractionSettings(window_frames=5))
    list(measurement.run())
    return measurement.result()


def test_a_model_learns_the_background_of_a_scan(scan, tmp_path):
    output = tmp_path / "mine.safetensors"
    steps = fine_tune_on_scan(QUICK, scan, output, simulation=SAMPLE, device="cpu")
    *steps, said = steps
    model = Model.load(output, "cpu")
    numbers = json.loads(output.with_suffix(".json").read_text())
    assert model.training["fine_tuning"] == numbers
    assert "another sample over the background of the scan" in numbers["judged_on"]
    assert model.training["scan"]["backgrounds"][0]["name"] == "mine"
    assert model.training["scan"]["simulations"][0]["pixel_um"] == 60.0
    assert model.training["start_from"] == Model.load("compact", "cpu").sha256
    assert f"F1 {numbers['before']['f1']:.3f} before" in said.message
    assert output.with_suffix(".png").read_bytes()[:4] == b"\x89PNG"
    assert not output.with_name("mine.safetensors.work").exists()


def test_a_given_background_is_not_extracted_again(scan, background, tmp_path):
    output = tmp_path / "m.safetensors"
    running = fine_tune_on_scan(
        QUICK, scan, output, background=background, simulation=SAMPLE, device="cpu"
    )
    first = next(running)
    assert first.stage == "whole network"
    running.close()
    work = tmp_path / "m.safetensors.work"
    assert not (work / "background.h5").exists()
    assert [line["done"] for line in read_log(work)] == [1]
    *rest, _ = fine_tune_on_scan(
        QUICK, scan, output, background=background, simulation=SAMPLE, device="cpu"
    )
    assert [step.done for step in rest] == [2]


def test_an_extraction_is_kept_for_the_next_time(scan, tmp_path):
    arguments = (QUICK, scan, tmp_path / "m.safetensors")
    running = fine_tune_on_scan(*arguments, simulation=SAMPLE, device="cpu")
    next(s for s in running if hasattr(s, "stage"))
    running.close()
    kept = BackgroundSet.load(tmp_path / "m.safetensors.work" / "background.h5")
    assert kept.n_frames == COUNT
    again = fine_tune_on_scan(*arguments, simulation=SAMPLE, device="cpu")
    assert next(again).stage == "whole network"
    again.close()


def test_faults_are_said_before_any_work(scan, tmp_path):
    unknown = scan.replace(description=ScanDescription())
    with pytest.raises(ScanError, match="pixel size"):
        next(fine_tune_on_scan(QUICK, unknown, tmp_path / "m.safetensors", device="cpu"))
    with pytest.raises(OutputError, match="let it end in"):
        next(fine_tune_on_scan(QUICK, scan, tmp_path / "m.pt", device="cpu"))
    assert not list(tmp_path.iterdir())


def test_several_processes_are_refused(scan, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SettingsError, match="without torchrun"):
        list(fine_tune_on_scan(FineTuneSettings(), scan, tmp_path / "new.safetensors"))


def test_the_command_takes_a_scan(scan, background, tmp_path, capsys):
    write_frames(tmp_path / "frames.tif", scan.frames)
    lines = [f"{k}: {v}" for k, v in GEOMETRY.items()]
    (tmp_path / "scan.yaml").write_text(
        "\n".join(["frames: [frames.tif]", "omega_deg: {start: 0, step: 40}", *lines])
    )
    background.save(tmp_path / "set.h5")
    output = tmp_path / "mine.safetensors"
    command = ["finetune", "--scan", str(tmp_path / "scan.yaml"), "-o", str(output)]
    command += ["--background", str(tmp_path / "set.h5"), "--device", "cpu", "--material", "Fe"]
    for name, value in [*SAMPLE.items(), ("iterations", 1), ("batch", 2), ("crop_px", 64),
                        ("validation_crops", 1)]:  # fmt: skip
        command += ["--" + name.replace("_", "-"), str(value)]
    assert cli.main(command) == 0
    printed = capsys.readouterr()
    assert printed.out.strip() == str(output)
    assert "F1" in printed.err
    assert "before" in printed.err
    made = Model.load(output, "cpu").training["scan"]["simulations"][0]
    assert (made["material"], made["mean_grain_um"]) == ("Fe", 30.0)


def test_the_verdict_is_honest():
    def said(before, after):
        numbers = itertools.product(("before", "after"), [{"crops": 8}])
        made = dict(numbers)
        return before_after.verdict(
            {"before": made["before"] | {"f1": before}, "after": made["after"] | {"f1": after}}
        )

    assert "is better: F1 0.800 before, 0.850 after" in said(0.8, 0.85)
    assert "is no better" in said(0.8, 0.801)
    assert "is worse" in said(0.8, 0.75)
