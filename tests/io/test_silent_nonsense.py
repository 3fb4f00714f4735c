"""Numbers that cannot be meant are refused where they are read, not carried into a result."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile

from napari_labdct.background import BackgroundSet
from napari_labdct.core.errors import LabDCTError, ModelError, ScanError
from napari_labdct.evaluation.comparison import Segmentation
from napari_labdct.io.spot_csv import write_spot_csv
from napari_labdct.io.spot_tables import read_table
from napari_labdct.networks.model import Model
from napari_labdct.spots.measurement import SPOT_DTYPE, spot_pixels
from napari_labdct.training.crops.reviewed_pairs import ReviewedPairs


def _mask(value: float, other: float | None = None, dtype=np.float32) -> np.ndarray:
    mask = np.zeros((40, 48), dtype)
    mask[5:9, 5:9] = value
    if other is not None:
        mask[20:24, 20:24] = other
    return mask


@pytest.mark.parametrize("value", [0.7, 0.001, 1.0, 255.0])
def test_a_mask_with_any_one_value_for_spot_is_a_mask(value):
    assert spot_pixels(_mask(value)).sum() == 16
    seen = Segmentation("a", _mask(value)[None]).mask(0, (40, 48))
    assert seen.dtype == bool
    assert seen.sum() == 16


@pytest.mark.parametrize(
    ("mask", "why"),
    [
        (_mask(0.7, 0.2), "different fractions"),
        (_mask(np.nan), "NaN or negative"),
        (_mask(-3, 2, np.int16), "NaN or negative"),
        (_mask(np.inf), "labels may go up to"),
        (_mask(2**40, dtype=np.int64), "labels may go up to"),
    ],
)
def test_what_is_neither_mask_nor_labels_is_refused_by_all_who_take_masks(tmp_path, mask, why):
    with pytest.raises(ScanError, match=why):
        Segmentation("a", mask[None]).mask(0, (40, 48))
    tifffile.imwrite(tmp_path / "mask_0000.tif", mask)
    tifffile.imwrite(tmp_path / "frame_0000.tif", np.ones((40, 48), np.uint16))
    entry = {"index": 0, "frame": "frame_0000.tif", "mask": "mask_0000.tif"}
    (tmp_path / "pairs.json").write_text(json.dumps({"pairs": [entry]}))
    with pytest.raises(LabDCTError):
        ReviewedPairs(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("row", np.nan),
        ("col", np.inf),
        ("snr", -np.inf),
        ("id", -4),
        ("area_px", -1),
        ("frame", -2),
    ],
)
def test_tables_with_impossible_numbers_are_refused(tmp_path, name, value):
    table = np.zeros(2, SPOT_DTYPE)
    table[name][1] = value
    path = write_spot_csv(tmp_path / "a.csv", [table])
    with pytest.raises(ScanError, match=f"no usable column '{name}'"):
        read_table(path, SPOT_DTYPE)


def test_a_confidence_that_nobody_knows_is_no_fault(tmp_path):
    table = np.zeros(2, SPOT_DTYPE)
    table["confidence"] = np.nan
    path = write_spot_csv(tmp_path / "a.csv", [table])
    assert np.isnan(read_table(path, SPOT_DTYPE)[0]["confidence"]).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_model_whose_weights_are_no_numbers_is_refused(model, value):
    weights = {k: v.clone() for k, v in model.weights.items()}
    weights["head.bias"][0] = value
    with pytest.raises(ModelError, match="not all numbers"):
        Model.of("compact", weights, device="cpu", name="a")


def test_a_model_that_gives_no_numbers_says_so_instead_of_finding_nothing(model):
    weights = {k: v.clone() for k, v in model.weights.items()}
    for value in weights.values():
        if value.ndim == 4:
            value[:] = 3e38 * value.sign()
    wild = Model.of("compact", weights, device="cpu", name="a")
    frame = np.random.default_rng(0).poisson(100, (40, 48)).astype(np.uint16)
    with pytest.raises(ModelError, match="not a number everywhere"):
        wild(frame)


@pytest.mark.parametrize(
    ("key", "value"),
    [("threshold", "-5"), ("median_window", "0"), ("median_window", "1000000000"),
     ("normalisation", '{"block_px": 0}'), ("threshold", "1e300")],
)  # fmt: skip
def test_headers_of_models_with_impossible_numbers_are_refused(tmp_path, model, key, value):
    from napari_labdct.io.safetensors import read_file, write_file

    model.save(tmp_path / "m.safetensors")
    tensors, about = read_file(tmp_path / "m.safetensors")
    write_file(tmp_path / "m.safetensors", tensors, {**about, key: value})
    with pytest.raises(ModelError, match="its description cannot be read"):
        Model.load(tmp_path / "m.safetensors", "cpu")


def test_a_background_below_zero_is_refused(tmp_path, flat_background):
    import h5py

    path = flat_background.save(tmp_path / "b.h5")
    with h5py.File(path, "r+") as file:
        file["mean"].attrs["counts"] = -2.0
    with pytest.raises(ScanError, match="do not fit together"):
        BackgroundSet.load(path)
