"""A trained network as one safe file, and how to use it on a frame.

The file is a safetensors file: weights (convolutions in half precision) and, as JSON in its
header, everything else: network, normalisation, threshold, how it was trained.  Reading it
runs no code.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._version import __version__
from ..core.errors import ModelError, quoted, reason
from ..core.files import write_atomically
from ..core.schema import NUMBER, Mismatch, check, parse_json
from ..io.safetensors import read_file, write_file
from .devices import BFLOAT16, devices, quickest, resolve_device
from .library import find_model, shipped_models
from .normalisation import binned, normalise, spread

if TYPE_CHECKING:
    import torch

KIND = "napari-labdct model"
CHANNELS = 2  # of the input, from `normalise`
FORMAT_VERSION = 1
# Copies of a frame: quarter turns, and whether it is mirrored as well. The half turn comes early:
# it moves every pixel to the other places of the network's 2 x 2 blocks.
LOOKS = ((0, False), (2, False), (0, True), (2, True), (1, False), (3, False), (1, True), (3, True))


_ABOUT = {
    "format_version": int,
    "architecture": {"network": str, "options": dict},
    "threshold": NUMBER,
    "median_window": int,
    "normalisation": {"block_px": int},
    "training": dict,
    "napari_labdct": str,
}


_RANGES = {"threshold": (0, 255), "median_window": (1, 10_001)}
_BLOCK_PX = (2, 4096)


def _check_ranges(about: dict[str, Any]) -> None:
    """Raise Mismatch for numbers of a header that cannot be."""
    numbers = {name: about[name] for name in _RANGES}
    numbers["block_px"] = about["normalisation"]["block_px"]
    for name, (low, high) in {**_RANGES, "block_px": _BLOCK_PX}.items():
        if not low <= numbers[name] <= high:
            raise Mismatch(f"{name} must be {low} to {high}")


class Model:
    """A trained network, ready to clean frames. Make one with `Model.load`.

    Attributes
    ----------
    name : str
        Short name, the file's stem.
    threshold : int
        Of 255; pixels whose output is at least this much are spots.
    median_window : int
        Frames in the rolling median the model expects by default.
    block_px : int
        Block of the normalisation it was trained with.
    training : dict
        How it was trained.
    weights : dict of Tensor
        Weights as trained, float32, on the CPU.
    """

    def __init__(
        self,
        network: str,
        options: dict[str, Any],
        weights: dict[str, torch.Tensor],
        *,
        name: str = "unnamed",
        threshold: int = 128,
        median_window: int = 31,
        block_px: int = 32,
        training: dict[str, Any] | None = None,
        version: str = __version__,
        device: str = "auto",
    ) -> None:
        import torch

        from .bands import Bands, runs_in_bands
        from .runtimes import RUNTIMES, start_runtime

        self.network, self.options = network, dict(options)
        self.name, self.version = name, version
        self.threshold, self.median_window, self.block_px = threshold, median_window, block_px
        self.training = training or {}
        self.weights = {
            k: v.detach().cpu().float() if v.is_floating_point() else v.detach().cpu()
            for k, v in weights.items()
        }
        device = quickest(devices()) if device == "auto" else device
        self.runtime = device if device in RUNTIMES else "torch"
        self.dtype = torch.bfloat16 if device == BFLOAT16 else torch.float32
        self.device = resolve_device("cpu" if device in RUNTIMES else device)
        # Other runtimes have threads of their own, and a GPU does one thing after another.
        self.many_threads = self.runtime == "torch" and self.device.type == "cpu"
        net = self._probability_network()
        self._multiple, self._margin = int(net.multiple), int(net[0].margin_px)
        if self.runtime != "torch":
            self._net = start_runtime(device, net, CHANNELS, torch.get_num_threads())
        elif self.device.type == "cpu" and runs_in_bands(net[0]):
            self._net = Bands(net[0], self.dtype)
        else:
            self._net = _whole(net, self.device, self.dtype)

    def _probability_network(self) -> torch.nn.Sequential:
        """The network with folded batch norms and the sigmoid behind it, on the CPU."""
        import torch

        from .registry import build_network, fuse_batch_norm

        self._check_weights()
        net = build_network(self.network, **self.options)
        net.load_state_dict(self.weights)
        self.parameters = sum(p.numel() for p in net.parameters())
        whole = torch.nn.Sequential(fuse_batch_norm(net.eval()), torch.nn.Sigmoid())
        whole.multiple = net.multiple
        return whole.eval().requires_grad_(False)

    def _check_weights(self) -> None:
        """Refuse weights that do not fit the network or are no numbers, before it is built."""
        import torch

        from .registry import build_network

        with torch.device("meta"):  # takes no memory, whatever the options say
            wanted = build_network(self.network, **self.options).state_dict()
        if {k: v.shape for k, v in wanted.items()} != {k: v.shape for k, v in self.weights.items()}:
            raise ModelError(
                f"The weights of model '{self.name}' do not fit the network "
                f"{quoted(self.network)} it names; the file is damaged or was made by another "
                "program."
            )
        below = any(k.endswith("running_var") and (v < 0).any() for k, v in self.weights.items())
        if below or not all(torch.isfinite(v).all() for v in self.weights.values()):
            raise ModelError(
                f"The weights of model '{self.name}' are not all numbers: its training failed or "
                "the file is damaged; use another model."
            )

    @classmethod
    def of(
        cls,
        network: str,
        weights: dict[str, torch.Tensor],
        options: dict[str, Any] | None = None,
        **about: Any,
    ) -> Model:
        """A model of a network, with its default options if none are given, from weights."""
        return cls(network, options or {}, {k: v.clone() for k, v in weights.items()}, **about)

    @classmethod
    def load(cls, name_or_path: str | os.PathLike, device: str = "auto") -> Model:
        """Load a shipped or an own model by name, or a model file.

        Parameters
        ----------
        name_or_path : str or path
            The name of one of `library.list_models`, or a ``.safetensors`` file.
        device : str
            ``auto``, ``cpu``, ``cpu:bf16``, ``cuda:0``..., ``mps``: see `devices`. Or
            ``onnxruntime`` or ``openvino`` if installed: often quicker than torch on a CPU
            without bfloat16.

        Raises
        ------
        ModelError
            No such model or file, not a model file, truncated, made by a newer version,
            weights that do not fit, or a device this computer does not have.
        """
        path = find_model(name_or_path)
        tensors, metadata = read_file(path)
        if metadata.get("kind") != KIND:
            raise ModelError(
                f"'{path.name}' holds no napari-labdct model; choose a model file, or one of "
                f"{', '.join(shipped_models())}."
            )
        try:
            about = {k: parse_json(v) for k, v in metadata.items() if k != "kind"}
            check(about, _ABOUT, "its header")
            _check_ranges(about)
            version = int(about["format_version"])
            if version > FORMAT_VERSION:
                raise ModelError(
                    f"Model file '{path.name}' was made by a newer napari-labdct "
                    f"({about.get('napari_labdct', 'version unknown')}); update the package to "
                    "use it."
                )
            return cls(
                about["architecture"]["network"],
                about["architecture"]["options"],
                tensors,
                name=path.stem,
                threshold=int(about["threshold"]),
                median_window=int(about["median_window"]),
                block_px=int(about["normalisation"]["block_px"]),
                training=about["training"],
                version=about["napari_labdct"],
                device=device,
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ModelError(
                f"Model file '{path.name}' is damaged: its description cannot be read "
                f"({reason(error)}). "
                "Get it again, or use a shipped model."
            ) from error

    def save(self, path: str | os.PathLike) -> None:
        """Write the model as one file; a failure leaves the file that was there.

        Raises
        ------
        OutputError
            The file cannot be written.
        """
        import torch

        tensors = {
            k: v.half() if v.is_floating_point() and v.ndim == 4 else v
            for k, v in self.weights.items()
        }
        if not all(torch.isfinite(v).all() for v in tensors.values()):
            raise ModelError("The model's weights are not finite: its training failed.")
        write_file(Path(path), tensors, self._metadata())

    def export_onnx(self, path: str | os.PathLike) -> None:
        """Write the network as an ONNX file that takes frames of any size.

        Its input ``input`` (batch, 2, rows, cols) is what `normalise` gives, with sides that
        are multiples of the ``multiple`` in its metadata; its output ``probability``
        (batch, 1, rows, cols) is that of a call of this model. The rest of the metadata is
        that of the model file.

        Raises
        ------
        ModelError
            The package ``onnx`` is not installed.
        OutputError
            The file cannot be written.
        """
        write_atomically(Path(path), self.as_onnx())

    def as_onnx(self) -> bytes:
        """The content of that file."""
        from .runtimes import to_onnx

        metadata = {**self._metadata(), "multiple": str(self._multiple)}
        return to_onnx(self._probability_network(), CHANNELS, metadata)

    def _metadata(self) -> dict[str, str]:
        """Everything but the weights, as a file keeps it."""
        metadata = {
            "format_version": FORMAT_VERSION,
            "napari_labdct": self.version,
            "architecture": {"network": self.network, "options": self.options},
            "normalisation": {"name": "block-asinh", "block_px": self.block_px},
            "threshold": self.threshold,
            "median_window": self.median_window,
            "training": self.training,
        }
        return {"kind": KIND, **{k: json.dumps(v, sort_keys=True) for k, v in metadata.items()}}

    @property
    def info(self) -> dict[str, Any]:
        """What the model is and how it came about, as plain values."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            "network": self.network,
            "options": self.options,
            "parameters": self.parameters,
            "normalisation": {"name": "block-asinh", "block_px": self.block_px},
            "threshold": self.threshold,
            "median_window": self.median_window,
            "training": self.training,
            "napari_labdct": self.version,
            "format_version": FORMAT_VERSION,
        }

    @property
    def sha256(self) -> str:
        """Hash of everything that decides the output: network, normalisation and weights."""
        digest = hashlib.sha256(
            json.dumps([self.network, self.options, self.block_px], sort_keys=True).encode()
        )
        for key in sorted(self.weights):
            value = self.weights[key]
            digest.update(key.encode())
            digest.update((value.half() if value.ndim == 4 else value).numpy().tobytes())
        return digest.hexdigest()

    def __call__(
        self,
        frame: np.ndarray,
        median: np.ndarray | None = None,
        binning: int = 1,
        looks: int = 1,
    ) -> np.ndarray:
        """How much each pixel looks like part of a spot: `look` at what `see` makes of it.

        Parameters
        ----------
        frame : ndarray, shape (rows, cols)
            Detector counts, any integer or float type.
        median : ndarray, shape (rows, cols), optional
            Rolling median of the scan at this frame; without it the result is weaker.
        binning : int
            Edge of the squares of pixels that are averaged first, for spots wider than it knows;
            see `spot_width.suitable_binning`. The result has the size of the frame all the same.
        looks : int
            How many turned and mirrored copies the network looks at, 1 to 8; their mean is more
            precise and takes as many times as long.

        Returns
        -------
        ndarray, shape (rows, cols), float32
            0 (background) to 1 (spot).

        Raises
        ------
        ModelError
            The frame is not a grey image, the median has another size, or even a small tile
            does not fit in memory.
        """
        seen = self.see(frame, median, binning)
        return self.look(seen, np.shape(frame), binning, looks)

    def see(
        self, frame: np.ndarray, median: np.ndarray | None = None, binning: int = 1
    ) -> np.ndarray:
        """What the network is shown of a projection: the channels of `normalise`, binned."""
        frame = np.asarray(frame)
        if frame.ndim != 2 or 0 in frame.shape:
            raise ModelError(
                f"A model takes one grey frame (rows, cols), not an array of {frame.shape}."
            )
        if median is not None and np.shape(median) != frame.shape:
            raise ModelError(
                f"The rolling median is {np.shape(median)} pixels and the frame {frame.shape}; "
                "they must be of one scan."
            )
        if binning > 1:
            frame, median = (None if k is None else binned(k, binning) for k in (frame, median))
        return normalise(frame, median, self.block_px)

    def look(
        self, seen: np.ndarray, shape: tuple[int, int], binning: int = 1, looks: int = 1
    ) -> np.ndarray:
        """The network's answer to what `see` gave, of the shape that the projection had."""
        import torch

        rows, cols = seen.shape[1:]
        pad = [(0, -n % self._multiple) for n in (rows, cols)]
        if any(after for _, after in pad):
            seen = np.pad(seen, [(0, 0), *pad], mode="reflect")
        with torch.inference_mode():
            x = torch.from_numpy(seen)[None]
            output = self._view(x, *LOOKS[0])
            for view in LOOKS[1:looks]:
                output += self._view(x, *view)
            output = (output / looks if looks > 1 else output)[0, 0, :rows, :cols].numpy()
        if binning > 1:
            output = spread(output, binning)[tuple(map(slice, shape))]
        if not np.isfinite(output).all():
            raise ModelError(
                f"The output of model '{self.name}' is not a number everywhere: its weights are "
                "impossible; use another model."
            )
        return np.ascontiguousarray(output)

    def _view(self, x: torch.Tensor, quarters: int, mirrored: bool) -> torch.Tensor:
        """What the network says of a turned or mirrored copy, turned back."""
        x = x.rot90(quarters, (2, 3))
        output = self._probability(x.mT if mirrored else x)
        return (output.mT if mirrored else output).rot90(-quarters, (2, 3))

    def _probability(self, x: torch.Tensor) -> torch.Tensor:
        """Run the network on (1, channels, rows, cols); in halves when memory runs out."""
        import torch

        try:
            return self._net(x)
        except (RuntimeError, MemoryError) as error:
            if not _out_of_memory(error):
                raise
        axis = 2 if x.shape[2] >= x.shape[3] else 3
        size = x.shape[axis]
        if size < 2 * (self._margin + self._multiple):  # halves would be no smaller
            raise ModelError(
                "There is not enough memory for even a small tile of the frame; close other "
                "programs or choose another device."
            )
        middle = size // 2 // self._multiple * self._multiple
        low = self._probability(x.narrow(axis, 0, min(middle + self._margin, size)))
        start = max(middle - self._margin, 0)
        high = self._probability(x.narrow(axis, start, size - start))
        return torch.cat(
            [low.narrow(axis, 0, middle), high.narrow(axis, middle - start, size - middle)], axis
        )


def _whole(
    network: torch.nn.Module, device: torch.device, dtype: torch.dtype
) -> Callable[[torch.Tensor], torch.Tensor]:
    """A network on a device as a function of float32 on the CPU."""
    import torch

    network = network.to(device, dtype, memory_format=torch.channels_last)

    def run(x: torch.Tensor) -> torch.Tensor:
        there = x.to(device, dtype).contiguous(memory_format=torch.channels_last)
        return network(there).float().cpu()

    return run


def _out_of_memory(error: Exception) -> bool:
    import torch

    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(
        words in str(error) for words in ("out of memory", "t allocate memory", "not enough memory")
    )


# --- files ---------------------------------------------------------------------------------
