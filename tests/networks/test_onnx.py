"""ONNX files and other runtimes: the same numbers as torch, on every size."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from napari_labdct.cli import main
from napari_labdct.core.errors import ModelError
from napari_labdct.networks import runtimes
from napari_labdct.networks.model import Model
from napari_labdct.networks.normalisation import normalise
from napari_labdct.networks.registry import build_network


@pytest.fixture(scope="module")
def lively():
    """A model whose output is anything from 0 to 1, with batch norms that have seen data."""
    torch.manual_seed(2)
    network = build_network("compact")
    with torch.no_grad():
        network(2 * torch.randn(4, 2, 64, 64))
        network.head.weight *= 300
        network.head.bias.zero_()
    return Model.of("compact", network.state_dict(), device="cpu", threshold=99)


def frames(shape):
    rng = np.random.default_rng(1)
    return rng.poisson(200, shape).astype(np.uint16), rng.normal(200, 2, shape).astype(np.float32)


def test_the_onnx_file_gives_the_same_output_on_any_size(lively, tmp_path):
    path = tmp_path / "lively.onnx"
    lively.export_onnx(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    spread = 0.0
    for shape in [(16, 16), (48, 32), (64, 160)]:
        frame, median = frames(shape)
        x = normalise(frame, median, lively.block_px)[None]
        (out,) = session.run(None, {"input": x})
        assert out.shape == (1, 1, *shape)
        np.testing.assert_allclose(out[0, 0], lively(frame, median), atol=1e-3)
        spread = max(spread, float(np.ptp(out)))
    assert spread > 0.9
    both = np.concatenate([x, 0 * x])
    assert session.run(None, {"input": both})[0].shape == (2, 1, *shape)


def test_the_onnx_file_says_how_to_use_it(lively, tmp_path):
    lively.export_onnx(tmp_path / "lively.onnx")
    file = onnx.load(tmp_path / "lively.onnx")
    onnx.checker.check_model(file)
    told = {p.key: p.value for p in file.metadata_props}
    assert told["kind"] == "napari-labdct model"
    assert json.loads(told["threshold"]) == 99
    assert json.loads(told["normalisation"])["block_px"] == 32
    assert told["multiple"] == "16"


def test_the_paper_network_as_onnx(tmp_path):
    torch.manual_seed(0)
    model = Model.of("paper", build_network("paper").state_dict(), device="cpu")
    model.export_onnx(tmp_path / "paper.onnx")
    session = onnxruntime.InferenceSession(
        tmp_path / "paper.onnx", providers=["CPUExecutionProvider"]
    )
    frame, median = frames((32, 96))
    (out,) = session.run(None, {"input": normalise(frame, median)[None]})
    np.testing.assert_allclose(out[0, 0], model(frame, median), atol=1e-3)


@pytest.mark.parametrize("name", sorted(runtimes.RUNTIMES))
def test_a_runtime_takes_the_place_of_torch(lively, tmp_path, name):
    lively.save(tmp_path / "lively.safetensors")
    torch_model = Model.load(tmp_path / "lively.safetensors", "cpu")
    other = Model.load(tmp_path / "lively.safetensors", name)
    assert name in runtimes.available_runtimes()
    assert other.runtime == name
    assert other.sha256 == torch_model.sha256
    for shape in [(75, 101), (33, 20)]:
        frame, median = frames(shape)
        np.testing.assert_allclose(other(frame, median), torch_model(frame, median), atol=1e-3)
        first = other(frame)
        other(frame, median)
        np.testing.assert_array_equal(first, other(frame))  # no memory is used twice


def test_a_runtime_that_is_not_installed_is_said(lively, monkeypatch):
    monkeypatch.setattr(runtimes.importlib.util, "find_spec", lambda name: None)
    assert runtimes.available_runtimes() == {}
    with pytest.raises(
        ModelError, match=r"OpenVINO is not installed.*labdct\[openvino\].*device 'cpu'"
    ):
        Model.of("compact", lively.weights, device="openvino")
    with pytest.raises(ModelError, match="Writing ONNX needs the package 'onnx'"):
        lively.export_onnx("never.onnx")


def test_a_runtime_that_fails_is_said(lively, monkeypatch):
    def broken(*_):
        raise RuntimeError("no such instruction")

    broken_runtime = runtimes.Runtime("OpenVINO", "openvino", ("onnx",), broken)
    monkeypatch.setitem(runtimes.RUNTIMES, "openvino", broken_runtime)
    with pytest.raises(ModelError, match=r"OpenVINO cannot run this network \(no such instruction"):
        Model.of("compact", lively.weights, device="openvino")


def test_the_command_writes_onnx(tmp_path, capsys):
    path = tmp_path / "compact.onnx"
    assert main(["models", "--export-onnx", "compact", str(path)]) == 0
    onnx.checker.check_model(onnx.load(path))
    assert capsys.readouterr().out.strip() == str(path)
