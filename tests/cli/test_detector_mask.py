"""Commands on projections with gaps, a blank one and values that are no numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile

from napari_labdct.cli import main


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """Projections without a spot, with a gap of 2^32 - 1, a dead module, a blank and a NaN."""
    frames = np.random.default_rng(4).poisson(400, (7, 96, 128)).astype(np.float32)
    frames[:, 40:43] = 2**32 - 1
    frames[:, :, 80:82] = 2**32 - 1
    frames[:, :40, 82:] = 0
    frames[2] = 0
    frames[5, 70, 30] = np.nan
    path = tmp_path_factory.mktemp("noise") / "scan.tif"
    tifffile.imwrite(path, frames, photometric="minisblack")
    return path


@pytest.mark.parametrize(
    "command",
    [
        ["routine", "--median-window=5", "--background=110", "--sigma-px=2"],
        ["denoise", "--device=cpu", "--median-window=5"],
    ],
    ids=["routine", "denoise"],
)
def test_noise_with_gaps_holds_no_spot_and_the_mask_is_told(noise, command, tmp_path, capsys):
    out = tmp_path / "out.tif"
    assert main([command[0], str(noise), "-o", str(out), *command[1:]]) == 0
    err = capsys.readouterr().err
    assert "Detector mask: 20 % of the pixels left out (found in the projections)" in err
    assert "Projection 2 is blank" in err
    assert "Projection 5: values that are no counts" in err
    assert not (tifffile.imread(out) >= 128).any()
    made = json.loads((tmp_path / "out.tif.json").read_text())["recipe"]
    assert len(made["input"]["mask"]) == 16
