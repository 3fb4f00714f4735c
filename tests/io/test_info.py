"""What ``labdct info`` says of a scan's angles."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile

from napari_labdct import cli


@pytest.mark.parametrize(
    ("omega", "words"),
    [
        ({"start": 180, "step": -3}, "angles: 180 to 168 deg, step -3 deg\n"),
        ({"start": 0, "step": 90}, "angles: 0 to 360 deg, step 90 deg, once round\n"),
        ({"start": 180, "step": 0}, "angles: 180 deg for every projection\n"),
        ([0, 1.99, 3.98, 5.96, 7.95], "angles: 0 to 7.95 deg, step 1.99 deg\n"),
        ([0, 2, 4, 9, 11], "angles: 0 to 11 deg, step 2 deg, uneven\n"),
        (None, "angles: not given\n"),
    ],
)
def test_info_tells_the_step_with_its_sign(tmp_path, capsys, omega, words):
    tifffile.imwrite(tmp_path / "scan.tif", np.zeros((5, 9, 8), np.uint16))
    (tmp_path / "scan.yaml").write_text(json.dumps({"omega_deg": omega}))
    assert cli.main(["info", str(tmp_path)]) == 0
    assert words in capsys.readouterr().out


def test_info_tells_the_angle_of_one_projection(tmp_path, capsys):
    tifffile.imwrite(tmp_path / "one.tif", np.zeros((9, 8), np.uint16))
    (tmp_path / "scan.yaml").write_text("omega_deg: [5]")
    assert cli.main(["info", str(tmp_path)]) == 0
    assert "angles: 5 deg\n" in capsys.readouterr().out
