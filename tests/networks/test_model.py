"""Model files and calling a model: round trips, sizes, and refusals with a remedy."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy import ndimage as ndi

from napari_labdct.core.errors import ModelError, OutputError
from napari_labdct.io.safetensors import read_file, write_file
from napari_labdct.networks import bands
from napari_labdct.networks import model as model_module
from napari_labdct.networks.devices import BFLOAT16, devices, quickest, resolve_device
from napari_labdct.networks.library import shipped_models
from napari_labdct.networks.model import Model
from napari_labdct.spots.label_levels import LABEL_LEVEL


@pytest.fixture
def saved(model, tmp_path):
    path = tmp_path / "mine.safetensors"
    model.save(path)
    return path


@pytest.fixture
def frame():
    return np.random.default_rng(0).poisson(200, (75, 101)).astype(np.uint16)


def _rewrite(path, **changes):
    """The same file with other metadata; None takes an entry away."""
    tensors, metadata = read_file(path)
    metadata |= {k: json.dumps(v) for k, v in changes.items()}
    write_file(path, tensors, {k: v for k, v in metadata.items() if v != "null"})


def test_round_trip(model, saved, frame):
    model.threshold, model.training = 112, {"seed": 7}
    model.save(saved)
    again = Model.load(saved, "cpu")
    assert (again.threshold, again.median_window, again.block_px) == (112, 31, 32)
    assert again.training == {"seed": 7}
    assert again.name == "mine"
    assert again.sha256 == model.sha256
    assert again.info["parameters"] == 451_764
    assert again.info["format_version"] == 1
    json.dumps(again.info)
    np.testing.assert_allclose(again(frame), model(frame), atol=2e-3)  # half precision
    assert saved.stat().st_size < 1_200_000


@pytest.mark.parametrize("shape", [(75, 101), (64, 64), (3, 2)])
def test_a_binned_frame_is_seen_as_a_small_one_and_answered_in_full(model, shape):
    rng = np.random.default_rng(4)
    small = rng.poisson(200, [-(-n // 2) for n in shape]).astype(np.float32)
    frame = small.repeat(2, axis=0).repeat(2, axis=1)[: shape[0], : shape[1]]
    answer, seen = model(frame, binning=2), model(small)
    assert answer.shape == shape
    # linear between the centres of the squares: a quarter of the way at each pixel
    padded = np.pad(seen, 1, mode="edge")
    near, far = padded[1:-1, 1:-1], (padded[:-2, 1:-1], padded[1:-1, :-2], padded[:-2, :-2])
    corner = (9 * near + 3 * far[0] + 3 * far[1] + far[2]) / 16
    np.testing.assert_allclose(answer[::2, ::2], corner[: -(-shape[0] // 2)], atol=1e-5)


def test_eight_looks_do_not_depend_on_how_the_frame_lies(model, monkeypatch):
    """All turned and mirrored copies have one mean; a single look has its own opinion of each."""
    plain = lambda frame, median, block_px: np.stack([frame, frame])  # noqa: E731
    monkeypatch.setattr(model_module, "normalise", plain)
    frame = np.random.default_rng(3).normal(0, 1, (48, 64)).astype(np.float32)
    for change in (np.rot90, np.transpose, np.flipud):
        turned = np.ascontiguousarray(change(frame))
        np.testing.assert_allclose(model(turned, looks=8), change(model(frame, looks=8)), atol=1e-5)
        assert np.abs(model(turned) - change(model(frame))).max() > 1e-3
    parts = [model(frame, looks=n) * n for n in (1, 2)]
    np.testing.assert_array_equal(parts[0], model(frame))
    half_turn = np.ascontiguousarray(np.rot90(frame, 2))
    np.testing.assert_allclose(parts[1] - parts[0], np.rot90(model(half_turn), 2), atol=1e-5)


def test_saving_twice_gives_the_same_model(saved):
    first = Model.load(saved, "cpu")
    first.save(saved)
    assert Model.load(saved, "cpu").sha256 == first.sha256


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (31, 33), (64, 64), (75, 101)])
@pytest.mark.parametrize("with_median", [True, False])
def test_any_size_with_and_without_median(model, shape, with_median):
    frame = np.random.default_rng(1).poisson(300, shape).astype(np.uint16)
    median = np.full(shape, 300, np.float32) if with_median else None
    out = model(frame, median)
    assert out.shape == shape
    assert out.dtype == np.float32
    assert out.min() >= 0
    assert out.max() <= 1


def test_frame_and_median_must_fit(model, frame):
    with pytest.raises(ModelError, match="one grey frame"):
        model(np.zeros((3, 20, 20)))
    with pytest.raises(ModelError, match="of one scan"):
        model(frame, np.zeros((10, 10)))


def test_tiles_give_the_whole_frame_when_memory_runs_out(model, monkeypatch):
    """The network refuses more than a quarter of the frame; halves join without a seam."""
    frame = np.random.default_rng(2).poisson(300, (520, 700)).astype(np.uint16)
    whole = model(frame)
    network = model._net
    sizes = []

    def small_memory(x):
        sizes.append(x.shape[2:])
        if x.shape[2] * x.shape[3] > 200_000:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")
        return network(x)

    monkeypatch.setattr(model, "_net", small_memory)
    np.testing.assert_allclose(model(frame), whole, atol=1e-5)
    assert len(sizes) > 3


@pytest.mark.parametrize("size", [256, 272, 288, 304, 560])
def test_tiles_end_where_halves_are_no_smaller(model, size, monkeypatch):
    sizes = []

    def no_memory(x):
        sizes.append(tuple(x.shape[2:]))
        raise MemoryError

    monkeypatch.setattr(model, "_net", no_memory)
    with pytest.raises(ModelError, match="not enough memory"):
        model(np.zeros((size, 64), np.uint16))
    assert len(set(sizes)) == len(sizes) < 8


def test_no_memory_at_all_is_said(model, frame, monkeypatch):
    def no_memory(x):
        raise MemoryError

    monkeypatch.setattr(model, "_net", no_memory)
    with pytest.raises(ModelError, match="not enough memory"):
        model(frame)


def test_other_faults_of_the_network_are_not_hidden(model, frame, monkeypatch):
    def broken(x):
        raise RuntimeError("something else")

    monkeypatch.setattr(model, "_net", broken)
    with pytest.raises(RuntimeError, match="something else"):
        model(frame)


def test_unknown_names_and_files():
    with pytest.raises(ModelError, match=r"no model 'compakt'.*compact"):
        Model.load("compakt")
    with pytest.raises(ModelError, match=r"no model file .*nowhere.safetensors"):
        Model.load("nowhere.safetensors")


def test_a_folder_is_no_model(tmp_path):
    with pytest.raises(ModelError, match="is a folder"):
        Model.load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"II*\x00", b"\x80\x02}q\x00.", b"\xff" * 5000])
def test_what_is_no_model_file_is_refused(tmp_path, content):
    path = tmp_path / "holiday.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"not a model file|cut short"):
        Model.load(path)


def test_other_safetensors_files_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"a": torch.zeros(3)}, path)
    with pytest.raises(ModelError, match="holds no napari-labdct model"):
        Model.load(path)


@pytest.mark.parametrize("keep", [4, 200, 20_000, -1])
def test_truncated_file_is_refused(saved, keep):
    saved.write_bytes(saved.read_bytes()[:keep])
    with pytest.raises(ModelError, match="cut short"):
        Model.load(saved)


def test_newer_format_is_refused(saved):
    _rewrite(saved, format_version=99, napari_labdct="9.1")
    with pytest.raises(ModelError, match=r"newer napari-labdct \(9.1\); update"):
        Model.load(saved)


def test_unknown_architecture_is_refused(saved):
    _rewrite(saved, architecture={"network": "gigantic", "options": {}})
    with pytest.raises(ModelError, match="no network called 'gigantic'"):
        Model.load(saved)


def test_weights_of_another_network_are_refused(saved):
    _rewrite(saved, architecture={"network": "compact", "options": {"channels": 8}})
    with pytest.raises(ModelError, match="do not fit"):
        Model.load(saved)


def test_damaged_description_is_refused(saved):
    _rewrite(saved, threshold=None)
    with pytest.raises(ModelError, match="damaged"):
        Model.load(saved)


def test_weights_that_are_not_finite_are_not_saved(model, saved):
    before = saved.read_bytes()
    model.weights["head.bias"][0] = float("nan")
    with pytest.raises(ModelError, match="training failed"):
        model.save(saved)
    assert saved.read_bytes() == before


def test_a_full_disk_keeps_the_previous_file(model, saved, monkeypatch):
    before = saved.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model_module.os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        model.save(saved)
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == ["mine.safetensors"]


def test_devices_are_those_there_are(saved):
    assert "cpu" in devices()
    assert resolve_device("cpu").type == "cpu"
    assert str(resolve_device("auto")) == quickest(devices()).removesuffix(":bf16")
    with pytest.raises(ModelError, match=r"no device 'cuda:77'; it has cpu"):
        Model.load(saved, "cuda:77")


def test_auto_is_the_quickest_device_that_is_here():
    assert quickest(["cpu", BFLOAT16, "cuda:0", "mps"]) == "cuda:0"
    assert quickest(["cpu", BFLOAT16]) == BFLOAT16
    assert quickest(["cpu"]) == quickest([]) == "cpu"


@pytest.mark.parametrize(
    ("processor", "can"),
    [({"amx_bf16": True}, True), ({"avx512_bf16": True}, True), ({"avx512_f": True}, False)],
)
def test_bfloat16_is_offered_where_the_processor_says_so(monkeypatch, processor, can):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: processor, raising=False)
    assert (BFLOAT16 in devices()) == can


def test_masks_in_bfloat16_are_those_of_float32_but_for_a_few_pixels(monkeypatch):
    # elsewhere it is slow, not wrong
    can = {"amx_bf16": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: can, raising=False)
    rng = np.random.default_rng(5)
    spots = np.zeros((192, 256))
    spots[tuple(rng.integers(4, (188, 252), (60, 2)).T)] = rng.uniform(300, 5000, 60)
    frame = rng.poisson(200 + ndi.gaussian_filter(spots, 1.3)).astype(np.uint16)
    median = np.full(frame.shape, 200, np.float32)
    exact, quick = Model.load("compact", "cpu"), Model.load("compact", BFLOAT16)
    assert (exact.dtype, quick.dtype) == (torch.float32, torch.bfloat16)
    masks = [255 * m(frame, median) >= m.threshold for m in (exact, quick)]
    assert masks[0].sum() > 500
    assert (masks[0] != masks[1]).sum() <= 0.01 * masks[0].sum()
    assert quick.sha256 == exact.sha256  # the device is no part of a result's recipe


@pytest.mark.parametrize("name", ["compact", "accurate"])
def test_shipped_model_is_there_and_works(frame, name):
    assert name in shipped_models()
    model = Model.load(name, "cpu")
    assert model.network == name
    assert 0 < model.threshold < 256
    assert model.training["validation"]["f1"] > 0.75
    median = np.full(frame.shape, 200, np.float32)
    rows, cols = np.mgrid[:75, :101]
    spot = 300 * np.exp(-((rows - 40) ** 2 + (cols - 60) ** 2) / 2 / 1.1**2)
    seen = 255 * model((frame + spot).astype(np.uint16), median) >= model.threshold
    assert seen[40, 60]
    # A label ends at 0.11 of the peak: 2 pi sd^2 ln(1 / 0.11) pixels of a Gaussian spot.
    area = 2 * np.pi * 1.1**2 * np.log(1 / LABEL_LEVEL)
    assert area / 2 <= seen.sum() <= 2 * area


def test_import_of_the_package_pulls_no_torch():
    code = (
        "import sys, napari_labdct.networks, napari_labdct.training;print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("name", ["compact", "accurate"])
def test_bands_of_rows_give_what_the_network_gives_of_the_whole_projection(name, monkeypatch):
    """Whatever the height of a band, in float32 to the last digits."""
    model = Model.load(name, "cpu")
    seen = np.random.default_rng(8).normal(0, 0.5, (2, 208, 96)).astype(np.float32)
    for row in range(6, 200, 12):
        seen[:, row : row + 3, 40:44] += 4
    x = torch.from_numpy(seen)[None]
    with torch.inference_mode():
        whole = model._probability_network()(x).numpy()
    for band_bytes in (1, 1 << 18, 1 << 30):
        monkeypatch.setattr(bands, "_BAND_BYTES", band_bytes)
        np.testing.assert_allclose(bands.Bands(model._net._network, torch.float32)(x), whole,
                                   atol=2e-6)  # fmt: skip
    assert np.ptp(whole) > 0.5


def test_a_network_that_overflows_is_not_taken_for_one_that_sees_nothing(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True}, raising=False)
    for device in ("cpu", BFLOAT16):
        model = Model.load("compact", device)
        model._net._network.down[0][0].bias.data.fill_(torch.inf)
        model._net._network.down[0][3].weight.data.neg_()
        with pytest.raises(ModelError, match="not a number"):
            model(np.zeros((40, 40), np.uint16))
