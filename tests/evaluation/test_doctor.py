"""The report for a bug: what it says, what it keeps to itself, and that nothing stops it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from napari_labdct.cli import main
from napari_labdct.core import folders
from napari_labdct.core.errors import ModelError
from napari_labdct.evaluation import doctor


def test_the_command_says_versions_disk_and_devices_and_names_no_folder(capsys):
    assert main(["doctor", "--no-window", "--no-timing"]) == 0
    out = capsys.readouterr().out
    for part in ("napari-labdct ", "Python 3.", "torch ", "GiB free", "device cpu: CPU"):
        assert part in out
    assert "recommended: auto" in out
    assert str(Path.home()) not in out
    assert "/tmp" not in out
    main(["doctor", "--no-window", "--no-timing", "--folders"])
    assert f" in {folders.cache_folder()}" in capsys.readouterr().out


def test_a_device_is_measured_on_the_sample(monkeypatch):
    def fake(device):
        if device == "onnxruntime":
            raise ModelError("It is broken.")
        return {"cpu": 0.5, "openvino": 0.2}.get(device, 0.6)

    assert 0 < doctor.seconds_a_projection("cpu", size=64) < 60
    monkeypatch.setattr(doctor, "seconds_a_projection", fake)
    lines = list(doctor.diagnose(window=False))
    assert any(line.startswith("device cpu: ") and "0.50 s" in line for line in lines)
    assert any("device onnxruntime: " in line and "does not work: It is" in line for line in lines)
    assert lines[-1].startswith("recommended: --device openvino")


@pytest.mark.parametrize(
    ("out", "error", "status", "said"),
    [
        ("Platform: Linux\nQt: 6.11\n - GL version: 4.5", "", 0, "Qt: 6.11; GL version: 4.5"),
        ("", "no display in /home/ada/x", -6, "cannot start here (no display in (path))"),
        ("", "", 1, "no reason given"),
    ],
)
def test_a_window_that_cannot_open_is_told_without_paths(monkeypatch, out, error, status, said):
    done = subprocess.CompletedProcess([], status, out, error)
    monkeypatch.setattr(doctor.subprocess, "run", lambda *_, **__: done)
    assert said in "\n".join(doctor._window())


def test_a_window_that_hangs_is_told(monkeypatch):
    def hangs(*_, **__):
        raise subprocess.TimeoutExpired("python", 60)

    monkeypatch.setattr(doctor.subprocess, "run", hangs)
    assert "did not start within 60 s" in next(doctor._window())
