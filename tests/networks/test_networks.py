"""The networks: counts, shapes, and that nothing is lost on the way."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from napari_labdct.core.errors import ModelError
from napari_labdct.networks.dynamic_unet import PixelShuffleUp
from napari_labdct.networks.imagenet import ResNet34
from napari_labdct.networks.model import Model
from napari_labdct.networks.registry import NETWORKS, build_network, fuse_batch_norm, load_encoder


@pytest.mark.parametrize(
    ("name", "options", "parameters", "convolutions"),
    [
        ("compact", {}, 451_764, 18),
        ("accurate", {}, 1_800_548, 18),
        ("paper", {"inputs": 3, "outputs": 3}, 41_221_268, 54),  # as in the paper
        ("paper", {}, 41_221_068, 54),  # one logit instead of a colour image
    ],
)
def test_networks_have_the_size_they_are_said_to_have(name, options, parameters, convolutions):
    network = build_network(name, **options)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert sum(isinstance(m, nn.Conv2d) for m in network.modules()) == convolutions


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_output_is_one_logit_a_pixel(name):
    network = build_network(name).eval()
    size = (2 * network.multiple, 3 * network.multiple)
    assert network(torch.zeros(2, 2, *size)).shape == (2, 1, *size)


def test_the_paper_network_takes_any_size_and_gives_a_colour_image():
    network = build_network("paper", inputs=3, outputs=3).eval()
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 75, 50)).shape == (1, 3, 75, 50)


def test_the_encoder_of_the_paper_network_sees_frame_residual_frame():
    two, three = build_network("paper").eval(), build_network("paper", inputs=3).eval()
    three.load_state_dict(two.state_dict())
    x = torch.randn(1, 2, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(two(x), three(x[:, [0, 1, 0]]))


def test_a_fresh_pixel_shuffle_leaves_no_checkerboard():
    """ICNR: the four sub-pixels of each pixel begin equal, so an image is only enlarged."""
    torch.manual_seed(4)
    up = PixelShuffleUp(8, 6, blur=False)
    with torch.no_grad():
        out = up(torch.randn(1, 8, 5, 7))
    assert out.shape == (1, 6, 10, 14)
    small = out[..., ::2, ::2]
    assert small.std() > 0.1
    enlarged = small.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(out, enlarged)
    up.blur = True
    with torch.no_grad():
        blurred = up(torch.zeros(1, 8, 5, 7))
    assert blurred.shape == (1, 6, 10, 14)


def test_the_blur_is_the_mean_of_a_pixel_and_its_neighbours_above_and_left():
    up = PixelShuffleUp(1, 1, blur=True)
    with torch.no_grad():
        up.conv.weight.fill_(1)
        out = up(torch.tensor([[1.0, 3.0]]).reshape(1, 1, 1, 2))
    torch.testing.assert_close(out[0, 0], torch.tensor([[1.0, 1.0, 2.0, 3.0]] * 2))


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_a_frozen_stage_leaves_the_encoder_alone(name):
    """Convolutions of the way down stand still; the way up and every batch norm learn."""
    torch.manual_seed(0)
    network = build_network(name)
    for parameter in network.encoder_parameters():
        parameter.requires_grad_(False)
    network(torch.randn(2, 2, 64, 64)).square().mean().backward()
    frozen = {n for n, p in network.named_parameters() if not p.requires_grad}
    convs = {f"{n}.weight" for n, m in network.named_modules() if isinstance(m, nn.Conv2d)}
    assert frozen == {n for n in convs if n.startswith(("encoder.", "down."))}
    assert all(p.grad is not None for p in network.parameters() if p.requires_grad)


def test_the_paper_network_runs_as_a_model_on_any_size():
    torch.manual_seed(0)
    model = Model.of("paper", build_network("paper").state_dict(), device="cpu")
    frame = np.random.default_rng(0).poisson(200, (40, 70)).astype(np.uint16)
    out = model(frame, np.full(frame.shape, 200, np.float32))
    assert out.shape == frame.shape
    assert 0 < out.min() < out.max() < 1
    assert model.info["parameters"] == 41_221_068


def test_the_encoder_begins_with_the_weights_of_a_file(tmp_path):
    torch.manual_seed(1)
    weights = {k: v.clone() for k, v in ResNet34().state_dict().items()}
    weights["fc.bias"] = torch.zeros(1000)  # torchvision's file holds the classifier too
    torch.save(weights, tmp_path / "resnet34.pth")
    network = build_network("paper")
    load_encoder("paper", network, tmp_path / "resnet34.pth")
    for name, value in network.encoder.state_dict().items():
        assert torch.equal(value, weights[name])
    # As old as torchvision's file: its batch norms do not count their batches.
    old = {k: v for k, v in weights.items() if "num_batches_tracked" not in k}
    torch.save(old, tmp_path / "old.pth")
    fresh = build_network("paper")
    load_encoder("paper", fresh, tmp_path / "old.pth")
    for name, value in fresh.encoder.state_dict().items():
        assert name not in old or torch.equal(value, old[name])
    before = network.encoder.conv1.weight.clone()
    load_encoder("paper", network, "random")
    assert torch.equal(network.encoder.conv1.weight, before)
    with pytest.raises(ModelError, match="Only network 'paper'"):
        load_encoder("compact", build_network("compact"), "imagenet")


def test_every_input_pixel_counts():
    """The stem loses nothing: each pixel of a 2 x 2 block has a gradient of its own."""
    network = build_network("compact").eval()
    x = torch.randn(1, 2, 32, 32, requires_grad=True)
    network(x)[0, 0, 16, 16].backward()
    assert (x.grad[0, :, 12:20, 12:20] != 0).all()


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_folding_batch_norm_changes_nothing(name):
    torch.manual_seed(0)
    network = build_network(name)
    with torch.no_grad():
        network(torch.randn(4, 2, 64, 64))  # moves the running statistics
        network.eval()
        x = torch.randn(1, 2, 64, 64)
        before = network(x)
        after = fuse_batch_norm(network)(x)
    left = [n for n, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(n == "middle.0" or n.endswith(".norm") for n in left)  # these stand before a ReLU
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)


def test_unknown_network_is_refused():
    with pytest.raises(ModelError, match=r"no network called 'huge'.*compact"):
        build_network("huge")
    with pytest.raises(ModelError, match="cannot be built"):
        build_network("compact", wings=2)
