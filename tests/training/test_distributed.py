"""Two processes under torchrun learn what one process learns."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from napari_labdct.io.safetensors import read_file
from napari_labdct.networks.model import Model
from napari_labdct.training.loop import train
from napari_labdct.training.run_folder import read_log
from napari_labdct.training.settings import SynthesisSettings, TrainSettings

SETTINGS = TrainSettings(
    iterations=3, batch=4, parts=2, warmup=2, validation_crops=1, validate_every=3, report_every=1
)
FLAGS = ["--iterations=3", "--batch=4", "--warmup=2", "--validation-crops=1",
         "--validate-every=3", "--report-every=1", "--crop-px=32", "--device=cpu"]  # fmt: skip
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


def test_two_processes_are_one_with_two_parts(tmp_path):
    """Weights, batch-norm statistics and curve agree; each process drew half of each batch."""
    command = [*TORCHRUN, "-m", "napari_labdct", "train", str(tmp_path / "two"), *FLAGS]
    quiet = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=quiet, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "two" / "best.safetensors")  # said once
    steps = list(train(SETTINGS, tmp_path / "one", SynthesisSettings(crop_px=32), "cpu"))
    log = read_log(tmp_path / "two")
    assert [line["done"] for line in log] == [1, 2, 3]
    for step, line in zip(steps, log, strict=True):
        assert line["loss"] == pytest.approx(step.loss, rel=1e-4)
    one, two = (read_file(tmp_path / n / "last.safetensors")[0] for n in ("one", "two"))
    assert one.keys() == two.keys()
    for name, value in one.items():
        if value.is_floating_point():
            torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-5)
    assert Model.load(tmp_path / "two" / "best.safetensors", "cpu").training["train"]["parts"] == 2
