"""What is written can be read: GrainMapper3D's layout, the table, the command."""

from __future__ import annotations

import csv
import json

import h5py
import numpy as np
import pytest
import tifffile

from napari_labdct.cli import main
from napari_labdct.core.errors import OutputError, ScanError, SettingsError
from napari_labdct.grains import write_result
from napari_labdct.grains.sample_mask import read_mask_volume, resampled
from napari_labdct.io.grainmapper import read_grainmapper
from napari_labdct.io.scan_yaml import write_scan_yaml


def test_a_written_map_reads_back(small, tmp_path):
    path, table = write_result(tmp_path / "grains.h5", small.result)
    back = read_grainmapper(path)
    np.testing.assert_array_equal(back.grains.labels, small.result.grains.labels)
    np.testing.assert_allclose(back.grains.centroids_mm, small.result.grains.centroids_mm)
    with h5py.File(path) as file:
        data = file["LabDCT/Data"]
        shape = small.result.grains.labels.shape
        assert data["IPF001"].shape == (*shape, 3)
        assert data["Completeness"][()].max() <= 1
        made = json.loads(file["napari_labdct/Recipe"][()])
        assert made["settings"] == small.job.settings.to_dict()
        assert len(file["napari_labdct/Grains"]) == small.result.grains.n_grains
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == small.result.grains.n_grains
    assert float(rows[0]["x_um"]) == pytest.approx(small.result.grains.centroids_mm[0, 0] * 1e3)


def test_a_name_of_another_kind_is_refused(small, tmp_path):
    with pytest.raises(OutputError, match=r"\.h5"):
        write_result(tmp_path / "grains.txt", small.result)
    assert not list(tmp_path.iterdir())


def test_the_command_maps_a_scan(small, tmp_path, capsys):
    tifffile.imwrite(tmp_path / "spots.tif", small.masks.astype(np.uint8) * 255)
    write_scan_yaml(tmp_path / "scan.yaml", small.scan, ["spots.tif"])
    out = tmp_path / "out" / "grains.h5"
    words = [
        "grains", str(tmp_path / "scan.yaml"), "--spots", str(tmp_path / "spots.tif"),
        "-o", str(out), "--sample", "cylinder", "--diameter-um", "70", "--height-um", "90",
        "--voxel-um", "5", "--effort", "quick", "--threads", "1",
    ]  # fmt: skip
    assert main(words) == 0
    assert str(out) in capsys.readouterr().out
    assert read_grainmapper(out).grains.n_grains >= 8
    assert sorted(p.name for p in out.parent.iterdir()) == ["grains.csv", "grains.h5"]
    assert main([*words, "--confidence", "0.5"]) == 1
    assert "--overwrite" in capsys.readouterr().err
    (out.parent / "grains.csv").unlink()  # as a kill before the table leaves it
    before = out.read_bytes()
    assert main(words) == 0
    assert "holds this result already" in capsys.readouterr().err
    assert out.read_bytes() == before
    with open(out.parent / "grains.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == read_grainmapper(out).grains.n_grains


def test_masks_keep_their_place(tmp_path):
    volume = np.zeros((10, 12, 14), np.uint8)
    volume[2:8, 3:9, 4:12] = 1
    tifffile.imwrite(tmp_path / "mask.tif", volume)
    inside, edge, center = read_mask_volume(tmp_path / "mask.tif", 4.0)
    grid = resampled(inside, edge, center, 2.0)
    assert grid.inside.shape == (12, 12, 16)
    assert grid.inside.all()
    # the middle of voxels 4..11 of 14 lies one voxel (4 um) beyond the middle of the volume
    np.testing.assert_allclose(grid.center_mm, [0.004, 0.0, 0.0], atol=1e-12)
    with pytest.raises(SettingsError, match="mask-voxel-um"):
        read_mask_volume(tmp_path / "mask.tif")
    with pytest.raises(ScanError, match="does not exist"):
        read_mask_volume(tmp_path / "none.tif", 1.0)


def test_a_grainmapper_mask_is_a_sample(small, tmp_path):
    path = write_result(tmp_path / "grains.h5", small.result)[0]
    inside, edge, center = read_mask_volume(path)
    np.testing.assert_array_equal(inside, small.result.grains.labels > 0)
    assert edge == pytest.approx(5.0)
    np.testing.assert_allclose(center, small.result.grains.center_mm)
