"""Seconds and memory of each network on one frame, beside fastai's own DynamicUnet.

    python benchmarks/network_speed.py [--sizes 600 1200 2032] [--networks compact paper fastai]

The network alone, on the CPU: no reading, no median, no normalisation; `torch` is torch's own loop
over the layers in float32, `cpu` and `cpu:bf16` what `labdct` does (`networks.bands`).  Every
figure is from a process of its own: one call to warm up, then the quickest of --repeats; `paper`
and `fastai`, which take long, are called once.  Memory is the peak of the process less what it
had before the first call (Linux).  `fastai` needs the extra `bench`; it is
built without weight norm, as `paper` is, and with the same weights both must give the same output.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import time

import torch
from memory import peak_gb
from torch import nn

from napari_labdct.networks.bands import Bands
from napari_labdct.networks.devices import has_bfloat16
from napari_labdct.networks.registry import NETWORKS, build_network, fuse_batch_norm
from napari_labdct.networks.runtimes import available_runtimes, start_runtime

LARGE = ("paper", "fastai")
#: What `Model` runs on a CPU in place of torch's own loop over the layers, by device.
BANDS = {"cpu": torch.float32, "cpu:bf16": torch.bfloat16}


def fastai_network() -> nn.Module:
    """The network of the notebook, built by fastai itself."""
    from fastai.vision.learner import create_body
    from fastai.vision.models.unet import DynamicUnet
    from torchvision.models import resnet34

    body = create_body(resnet34(), n_in=3, pretrained=False)
    return DynamicUnet(body, 3, (64, 64), blur=True, norm_type=None)


def largest_difference() -> float:
    """Between `paper` and fastai's network with the same weights, on an odd size.

    fastai 2 has moved one ReLU of the last residual block behind the sum; the paper's notebook
    is fastai 1, so it is moved back.
    """
    torch.manual_seed(0)
    theirs, ours = fastai_network(), build_network("paper", inputs=3, outputs=3)
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    block = next(m for m in theirs.modules() if type(m).__name__ == "ResBlock")
    block.act = nn.Identity()
    block.convpath[1].append(nn.ReLU())
    x = torch.randn(1, 3, 75, 101)
    with torch.inference_mode():
        return float((ours.eval()(x) - theirs.eval()(x)).abs().max())


def measure(name: str, runtime: str, size: int, repeats: int) -> dict:
    """One network on one size, in this process."""
    if name == "fastai":
        network, multiple, channels = fastai_network().eval(), 1, 3
    else:
        whole = fuse_batch_norm(build_network(name).eval())
        multiple, channels = whole.multiple, 2
        network = nn.Sequential(whole, nn.Sigmoid()).eval()
        network.multiple = multiple
    layout = torch.contiguous_format if name == "fastai" else torch.channels_last
    if runtime in BANDS:
        network = Bands(whole, BANDS[runtime])
    elif runtime == "torch":
        network = network.to(memory_format=layout)
    else:
        network = start_runtime(runtime, network, channels, torch.get_num_threads())
    side = size + -size % multiple
    x = torch.randn(1, channels, side, side)
    x = x if runtime in BANDS else x.to(memory_format=layout)
    before = peak_gb()
    walls, cpus = [], []
    with torch.inference_mode():
        for _ in range(1 if name in LARGE else repeats + 1):
            start, spent = time.perf_counter(), time.process_time()
            network(x)
            walls.append(time.perf_counter() - start)
            cpus.append(time.process_time() - spent)
    best = slice(None) if name in LARGE else slice(1, None)
    return {"wall_s": min(walls[best]), "cpu_s": min(cpus[best]), "gb": peak_gb() - before}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[600, 1200, 2032])
    parser.add_argument("--networks", nargs="+", default=[*NETWORKS, "fastai"])
    own = [name for name in BANDS if name == "cpu" or has_bfloat16()]
    default = ["torch", *own, *available_runtimes()]
    parser.add_argument("--runtimes", nargs="+", default=default)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        name, runtime, size, repeats = given.one
        print(json.dumps(measure(name, runtime, int(size), int(repeats))))
        return
    if "fastai" in given.networks and importlib.util.find_spec("fastai") is None:
        print("fastai is not installed (pip install 'napari-labdct[bench]'); left out")
        given.networks.remove("fastai")
    if {"fastai", "paper"} <= set(given.networks):
        print(f"largest difference of paper and fastai, same weights: {largest_difference():.1e}")
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    for size in given.sizes:
        slowest = None
        # Largest first, so that every other row can be put beside it.
        for name in reversed(given.networks):
            for runtime in given.runtimes:
                if runtime != "torch" and name in LARGE:
                    continue
                one = ["--one", name, runtime, str(size), str(given.repeats)]
                out = subprocess.run(
                    [sys.executable, __file__, *one], check=True, capture_output=True, text=True
                ).stdout
                r = json.loads(out.splitlines()[-1])
                if name == "fastai":
                    slowest = r
                ratio = ""
                if slowest:
                    wall, cpu = (slowest[key] / r[key] for key in ("wall_s", "cpu_s"))
                    ratio = f"  fastai / this: {wall:.0f} in time, {cpu:.0f} in CPU-s"
                print(
                    f"{size:>5} px  {name:<9} {runtime:<12} {r['wall_s']:7.2f} s  "
                    f"{r['cpu_s']:7.2f} CPU-s  {r['gb']:5.2f} GB{ratio}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
