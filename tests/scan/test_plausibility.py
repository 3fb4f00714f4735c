"""Numbers that can hardly be meant are said with the likely unit, and never changed."""

from __future__ import annotations

import numpy as np
import pytest

from napari_labdct.cli import main
from napari_labdct.core.errors import SettingsError
from napari_labdct.scan.description import ScanDescription
from napari_labdct.scan.plausibility import about_values, implausible, meaning
from napari_labdct.scan.scan import Scan

GOOD = {
    "pixel_um": 13.4, "source_sample_mm": 13, "sample_detector_mm": 140, "tube_kv": 110,
    "material": "Fe", "exposure_s": 90, "detector_center_px": (20, 30),
}  # fmt: skip


def described(**changes) -> Scan:
    return Scan(np.zeros((2, 40, 60), np.uint8), description=ScanDescription(**{**GOOD, **changes}))


def test_a_usual_set_up_is_plausible():
    assert implausible(described()) == {}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"pixel_um": 0.0134},
            "0.0134 um is smaller than any detector pixel; did you mean 13.4 um (0.0134 mm)?",
        ),
        ({"pixel_um": 650}, "650 um is larger than the pixels of detectors used for LabDCT"),
        ({"sample_detector_mm": 0.14}, "did you mean 140 mm (0.14 m)?"),
        ({"source_sample_mm": 5000}, "did you mean 5 mm (5000 um)?"),
        ({"tube_kv": 400}, "400 kV is higher than laboratory tubes; usual are 20 to 300 kV."),
        ({"exposure_s": 50000}, "did you mean 50 s (50000 ms)?"),
        ({"material": "Unobtainium"}, "'Unobtainium' is not known"),
        ({"detector_center_px": (1e6, 5)}, "lies outside the image of 40 x 60"),
        ({"beam_stop_px": ((900, 900), (910, 900), (910, 910))}, "beam stop lies outside"),
    ],
)
def test_a_value_that_can_hardly_be_meant_is_said_at_its_field(changes, said):
    scan = described(**changes)
    found = implausible(scan)
    assert list(found) == list(changes)
    assert said in found[next(iter(changes))]


def test_an_image_of_metres_is_said():
    scan = described(pixel_um=134).replace(frames=np.broadcast_to(np.uint8(0), (2, 40, 6000)))
    assert "0.8 m wide" in implausible(scan)["pixel_um"]


def test_the_numbers_are_said_as_sizes():
    said = " ".join(meaning(described(sample_detector_mm=4500)))
    assert "Image 0.536 mm high, 0.804 mm wide" in said
    assert "Spot circles up to 3.28 m wide" in said  # 2 x 4.5 m x tan 20 deg


def test_impossible_values_are_refused():
    for value in (-13.4, 0, float("nan"), float("inf")):
        with pytest.raises(SettingsError, match="Pixel size"):
            ScanDescription(pixel_um=value)


def test_decimal_commas_are_read():
    assert ScanDescription(pixel_um="13,4").pixel_um == 13.4
    for word in ("1,234.5", "1,2,3"):
        with pytest.raises(SettingsError, match="must be a number"):
            ScanDescription(pixel_um=word)


def test_the_command_line_warns(tmp_path, capsys):
    import tifffile

    tifffile.imwrite(tmp_path / "p.tif", np.ones((2, 40, 60), np.uint8), photometric="minisblack")
    (tmp_path / "scan.yaml").write_text("pixel_um: 0.0134\nmaterial: Unobtainium\n")
    assert main(["info", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert "did you mean 13.4 um (0.0134 mm)?" in err
    assert "Unobtainium" in err
    assert "pixel_um: 0.0134" in out  # never changed


def test_saturated_pixels_and_a_lost_sign_are_told():
    frames = np.full((5, 9, 9), 300, np.uint16)
    assert about_values(Scan(frames)) == []
    frames[4, 2, :3] = 65535
    (sentence,) = about_values(Scan(frames))
    assert "Projection 4 has 3 saturated pixels (65535" in sentence
    frames[0, 0, 0] = 40_000
    told = about_values(Scan(frames.view(np.int16)))
    assert "values down to -25536; counts without a sign" in told[0]
    assert about_values(Scan(np.full((3, 9, 9), 255, np.uint8))) == []  # a mask
    assert about_values(Scan(np.full((3, 9, 9), -3, np.int16))) == []  # dark level taken away
