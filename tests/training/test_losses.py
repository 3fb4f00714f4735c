"""The losses: values worked by hand, what does not count, and features like torchvision's."""

from __future__ import annotations

import hashlib
import math
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from napari_labdct.core.errors import ModelError
from napari_labdct.networks.imagenet import MEAN, STD, ResNet34, VGG16Features, load_weights
from napari_labdct.training.losses import LOSSES, POSITIVE_WEIGHT, build_loss, gram


class Doubled(nn.Module):
    """Three maps a hand can work out: the image's channels summed, times 1, 2 and 3."""

    def forward(self, x):
        return [k * x.sum(dim=1, keepdim=True) for k in (1, 2, 3)]


@pytest.fixture
def two_pixels():
    """Output 1/2 and 1/2, target 1 and 0: the differences are -1/2 and 1/2."""
    logits = torch.zeros(1, 1, 1, 2)
    target = torch.tensor([1.0, 0.0]).reshape(1, 1, 1, 2)
    return logits, target, torch.ones_like(target)


def test_bce_dice_by_hand(two_pixels):
    entropy = (POSITIVE_WEIGHT + 1) * math.log(2) / 2
    dice = (2 * 0.5 + 1) / (1 + 1 + 1)
    loss = build_loss("bce-dice")(*two_pixels)
    assert loss.item() == pytest.approx(3 * entropy + 1 - dice, rel=1e-5)


def _in_imagenet_units(values):
    """Channel by channel and their sum, pixel by pixel."""
    channels = [[(v - m) / s for m, s in zip(MEAN, STD)] for v in values]
    return channels, [sum(c) for c in channels]


def test_eq3_by_hand(two_pixels):
    """|y - yc|^2 / CHW + sum_j (|phi_j difference|^2 + |G_j difference|^2) / Cj Hj Wj."""
    (y, phi_y), (yc, phi_yc) = _in_imagenet_units((0.5, 0.5)), _in_imagenet_units((1.0, 0.0))
    pixel = sum((a - b) ** 2 for p, q in zip(y, yc) for a, b in zip(p, q)) / (3 * 1 * 2)
    feature = gram_part = 0.0
    for k in (1, 2, 3):
        feature += sum((k * a - k * b) ** 2 for a, b in zip(phi_y, phi_yc)) / 2
        g_y, g_yc = (sum((k * a) ** 2 for a in phi) / 2 for phi in (phi_y, phi_yc))  # 1 x 1
        gram_part += (g_y - g_yc) ** 2 / 2
    loss = build_loss("eq3", features=Doubled())(*two_pixels)
    assert loss.item() == pytest.approx(pixel + feature + gram_part, rel=1e-5)


def test_lesson7_by_hand(two_pixels):
    """Mean absolute differences; features times 5, 15, 2, Gram times 5000 of their squares."""
    (y, phi_y), (yc, phi_yc) = _in_imagenet_units((0.5, 0.5)), _in_imagenet_units((1.0, 0.0))
    expected = sum(abs(a - b) for p, q in zip(y, yc) for a, b in zip(p, q)) / 6
    for k, w in ((1, 5), (2, 15), (3, 2)):
        expected += w * sum(abs(k * a - k * b) for a, b in zip(phi_y, phi_yc)) / 2
        g_y, g_yc = (sum((k * a) ** 2 for a in phi) / 2 for phi in (phi_y, phi_yc))
        expected += w**2 * 5e3 * abs(g_y - g_yc)
    loss = build_loss("lesson7", features=Doubled())(*two_pixels)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_gram_by_hand():
    """Two channels of two pixels, (1, 2) and (3, 4), divided by C H W = 4."""
    maps = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 2, 1, 2)
    torch.testing.assert_close(gram(maps)[0], torch.tensor([[5.0, 11.0], [11.0, 25.0]]) / 4)


def test_a_batch_is_the_mean_of_its_images():
    torch.manual_seed(2)
    logits, target = torch.randn(3, 1, 8, 8), (torch.rand(3, 1, 8, 8) > 0.5).float()
    weight = torch.ones_like(target)
    for name in ("eq3", "lesson7"):
        loss = build_loss(name, features=Doubled())
        alone = [loss(logits[[k]], target[[k]], weight[[k]]) for k in range(3)]
        torch.testing.assert_close(loss(logits, target, weight), sum(alone) / 3)


@pytest.fixture(scope="module", params=LOSSES)
def loss(request):
    """Each loss, on untrained features."""
    return build_loss(request.param, features="random")


def test_ignored_pixels_do_not_count(loss):
    torch.manual_seed(1)
    logits = torch.randn(2, 1, 16, 16, requires_grad=True)
    target = (torch.rand(2, 1, 16, 16) > 0.5).float()
    weight = (torch.rand(2, 1, 16, 16) > 0.3).float()
    loss(logits, target, weight).backward()
    assert (logits.grad[weight == 0] == 0).all()
    assert (logits.grad[weight > 0] != 0).all()


def test_a_perfect_answer_costs_next_to_nothing(loss):
    target = torch.zeros(1, 1, 32, 32)
    target[..., 8:16, 8:16] = 1
    weight = torch.ones_like(target)
    good, bad = (loss(sign * (40 * target - 20), target, weight) for sign in (1, -1))
    assert good < 0.01 < bad
    assert torch.isfinite(loss(40 * target - 20, target, 0 * weight))


def test_the_features_are_frozen_and_their_batch_norms_rest():
    loss = build_loss("eq3", features="random")
    loss.train()
    before = {k: v.clone() for k, v in loss.state_dict().items()}
    loss(torch.randn(1, 1, 16, 16), torch.ones(1, 1, 16, 16), torch.ones(1, 1, 16, 16))
    assert not any(p.requires_grad for p in loss.parameters())
    assert all(torch.equal(before[k], v) for k, v in loss.state_dict().items())


def test_random_features_are_the_same_each_time_and_leave_the_dice_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    networks = [VGG16Features(), VGG16Features()]
    torch.manual_seed(5)
    for network in networks:
        load_weights(network, "vgg16_bn", "random")
    assert torch.equal(torch.rand(1), expected)
    first, second = (n.features[40].weight for n in networks)
    assert torch.equal(first, second)


# --- the same networks as torchvision's ------------------------------------------------------


def weights_by_rule(network):
    """Weights that depend on their names and shapes only, of a size that keeps maps alive."""
    weights = {}
    for name, value in network.state_dict().items():
        if not value.is_floating_point():
            weights[name] = value
            continue
        seed = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)
        noise = torch.rand(value.shape, generator=torch.Generator().manual_seed(seed))
        if value.ndim == 4:
            weights[name] = (noise - 0.5) * math.sqrt(24 / value[0].numel())
        else:
            weights[name] = noise + 0.5 if name.endswith(("weight", "var")) else noise - 0.5
    return weights


def image_by_rule(size):
    row, col = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return torch.stack([torch.sin(0.3 * row + k * 0.2 * col) for k in (1, 2, 3)])[None]


# Made by torchvision 0.28.0 (resnet34, vgg16_bn) with the two rules above: hash of names and
# shapes of the weights used here, then mean and standard deviation of each map.
TORCHVISION = {
    "resnet34": (
        ResNet34,
        "8500450f1294ef36aba19bb8759e95a6ced5b49a6a448c69993b37f26c87679a",
        [
            ((64, 32, 32), 0.436567, 0.652639),
            ((64, 16, 16), 2.36473, 3.46141),
            ((128, 8, 8), 15.9406, 20.6359),
            ((256, 4, 4), 225.87, 278.31),
            ((512, 2, 2), 396.582, 459.416),
        ],
    ),
    "vgg16_bn": (
        VGG16Features,
        "1c984afa57022199b4578db0f0f907d459d4a81e4c6b6074c6f1670f8da7f78f",
        [
            ((256, 16, 16), 0.703137, 1.11368),
            ((512, 8, 8), 0.885011, 1.43292),
            ((512, 4, 4), 1.00608, 1.70112),
        ],
    ),
}


@pytest.mark.parametrize("name", sorted(TORCHVISION))
def test_maps_are_those_of_torchvision(name):
    build, keys, values = TORCHVISION[name]
    network = build().eval()
    named = "".join(f"{k}{tuple(v.shape)}" for k, v in network.state_dict().items())
    assert hashlib.sha256(named.encode()).hexdigest() == keys
    network.load_state_dict(weights_by_rule(network))
    with torch.no_grad():
        maps = network(image_by_rule(64))
    measured = [(m.mean().item(), m.std().item()) for m in maps]
    assert [tuple(m.shape[1:]) for m in maps] == [tuple(shape) for shape, *_ in values]
    for found, (_, *expected) in zip(measured, values):
        assert found == pytest.approx(expected, rel=1e-4)


# --- where weights come from -----------------------------------------------------------------


def test_no_internet_is_said_in_one_sentence(monkeypatch):
    def unplugged(*_, **__):
        raise URLError("Name or service not known")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", unplugged)
    with pytest.raises(ModelError, match=r"vgg16_bn cannot be downloaded.*give the file.*'random'"):
        build_loss("eq3")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_from_a_file(tmp_path, suffix):
    torch.manual_seed(9)
    weights = {k: v.clone() for k, v in VGG16Features().state_dict().items()}
    weights["classifier.0.bias"] = torch.zeros(3)  # torchvision's file holds more
    path = tmp_path / f"vgg{suffix}"
    torch.save(weights, path) if suffix == ".pth" else save_file(weights, path)
    loss = build_loss("lesson7", features=path)
    assert torch.equal(loss.features.features[40].weight, weights["features.40.weight"])


def test_files_that_are_no_weights_are_refused(tmp_path):
    with pytest.raises(ModelError, match=r"no file '.*missing.pth'.*'random'"):
        build_loss("eq3", features=tmp_path / "missing.pth")
    letter = tmp_path / "letter.pth"
    letter.write_text("Dear all,")
    with pytest.raises(ModelError, match="is no file of weights"):
        build_loss("eq3", features=letter)
    other = tmp_path / "other.safetensors"
    save_file({"a": torch.zeros(3)}, other)
    with pytest.raises(ModelError, match="does not hold the weights of vgg16_bn"):
        build_loss("eq3", features=other)


def test_unknown_loss_is_refused():
    with pytest.raises(
        ModelError, match=r"no loss called 'hinge'; there is bce-dice, eq3, lesson7"
    ):
        build_loss("hinge")
