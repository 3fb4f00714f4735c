"""A U-Net on the CPU, band after band of rows, in memory that is used again.

torch runs a network layer by layer over the whole projection: hundreds of megabytes come and go
between two convolutions, fresh from the system every time, and copying them takes longer than
the arithmetic.  Here each stage of the network (two convolutions, what goes into them and what
comes out) runs over a band of rows that fits into the cache of a core, with as many rows around it
as its convolutions look at.  Only what later stages need is kept.  The numbers are those of
`unet.UNet`.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..core.in_flight import still_wanted
from . import band_kernels

if TYPE_CHECKING:
    from .unet import UNet

#: Rows that two convolutions of 3 x 3 look at beyond a band; even, so that pools stay in step.
_HALO = 2
#: And three of them, rounded up.
_HEAD_HALO = 4
#: What the largest image of a band may take.
_BAND_BYTES = 4 << 20


class Bands:
    """A trained U-Net as a function of what `normalise` gives; may be called from many threads.

    Parameters
    ----------
    network : UNet
        In evaluation mode, with folded batch norms (`registry.fuse_batch_norm`).
    dtype : torch.dtype
        float32 or bfloat16.
    """

    def __init__(self, network: UNet, dtype: torch.dtype) -> None:
        self._network = network.to(dtype, memory_format=torch.channels_last)
        self._dtype = dtype
        self._held = threading.local()

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Probabilities (1, 1, rows, cols) of channels (1, 2, rows, cols), all float32."""
        with torch.inference_mode():
            seen = np.ascontiguousarray(x[0].numpy())
            out = np.empty(seen.shape[1:], np.float32)
            self._buffers(seen.shape).run(seen, out)
        return torch.from_numpy(out)[None, None]

    def _buffers(self, shape: tuple[int, ...]) -> _Buffers:
        """Those of this thread, which go when it ends."""
        held = getattr(self._held, "buffers", None)
        if held is None or held.shape != shape:
            self._held.buffers = None
            held = self._held.buffers = _Buffers(self._network, self._dtype, shape)
        return held


class _Buffers:
    """The images between the stages for projections of one size, and the stages.

    Images are tensors (1, channels, rows, cols) that lie in memory as (rows, cols, channels).
    """

    def __init__(self, network: UNet, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
        self.shape, self._network, self._dtype = shape, network, dtype
        stem = network.stem
        width = [pair[0].out_channels for pair in network.down]
        inputs = [network.down[0][0].in_channels, *width[:-1]]
        sizes = [(shape[1] // stem >> k, shape[2] // stem >> k) for k in range(len(width))]
        self._skip = [_image(w, *size, dtype) for w, size in zip(width, sizes, strict=True)]
        self._pool = [_image(w, *size, dtype) for w, size in zip(inputs[1:], sizes[1:])]
        # The widest that a band of each level holds, and how many rows of it there may be.
        self._widest = [max(2 * w, n) for w, n in zip(width, inputs, strict=True)]
        self._rows = [
            max(16, _BAND_BYTES // (dtype.itemsize * n * cols)) & ~1
            for n, (_, cols) in zip(self._widest, sizes, strict=True)
        ]
        high = min(self._rows[0] + 2 * _HEAD_HALO, sizes[0][0])
        self._input = _image(inputs[0], high, sizes[0][1], dtype)
        self._both = [
            _image(2 * w, min(rows + 2 * _HEAD_HALO, size[0]), size[1], dtype)
            for w, rows, size in zip(width, self._rows, sizes, strict=True)
        ][:-1]

    def run(self, seen: np.ndarray, out: np.ndarray) -> None:
        """From the channels (2, rows, cols) to probabilities (rows, cols)."""
        for level in range(len(self._skip)):
            self._go_down(level, seen)
        for level in range(len(self._both) - 1, 0, -1):
            self._go_up(level)
        self._to_the_top(out)

    def _go_down(self, level: int, seen: np.ndarray) -> None:
        pair, skip = self._network.down[level], self._skip[level]
        for first, last, low, high in self._bands(level, _HALO):
            if level == 0:
                x = self._unshuffled(seen, low, high)
            else:
                x = self._pool[level - 1][:, :, low:high]
            skip[:, :, first:last] = _pair(pair, x)[:, :, first - low : last - low]
            if level + 1 < len(self._skip):
                pool = self._pool[level][:, :, first // 2 : last // 2]
                band_kernels.pooled(_array(skip[:, :, first:last]), _array(pool))

    def _go_up(self, level: int) -> None:
        """The result takes the place of the skip, row by row behind those still to be read."""
        done, rest = None, self._skip[level]
        for first, last, low, high in self._bands(level, _HALO):
            y = self._up(level, low, high)[:, :, first - low : last - low]
            if done is not None:
                rest[:, :, done[0] : done[1]] = done[2]
            done = first, last, y
        rest[:, :, done[0] : done[1]] = done[2]

    def _to_the_top(self, out: np.ndarray) -> None:
        network = self._network
        for first, last, low, high in self._bands(0, _HEAD_HALO):
            logits = network.head(self._up(0, low, high))[:, :, first - low : last - low]
            probability = torch.sigmoid(logits.float())
            band_kernels.shuffled(_array(probability), network.stem, first, out)

    def _up(self, level: int, low: int, high: int) -> torch.Tensor:
        """Rows of what a level makes of its skip and of the level below."""
        network = self._network
        small = network.reduce[level](self._skip[level + 1][:, :, low // 2 : high // 2])
        both = self._both[level][:, :, : high - low]
        band_kernels.joined(_array(small), _array(self._skip[level][:, :, low:high]), _array(both))
        return _pair(network.up[level], both)

    def _unshuffled(self, seen: np.ndarray, low: int, high: int) -> torch.Tensor:
        x = self._input[:, :, : high - low]
        if self._dtype == torch.bfloat16:
            bits = seen.view(np.uint32)
            band_kernels.unshuffled_bfloat16(bits, self._network.stem, low, _array(x))
        else:
            band_kernels.unshuffled(seen, self._network.stem, low, _array(x))
        return x

    def _bands(self, level: int, halo: int):
        """First and last row of each band, and of the rows it looks at."""
        rows, step = self._skip[level].shape[2], self._rows[level]
        for first in range(0, rows, step):
            still_wanted()
            last = min(first + step, rows)
            yield first, last, max(first - halo, 0), min(last + halo, rows)


def _pair(pair: torch.nn.Sequential, x: torch.Tensor) -> torch.Tensor:
    """Two convolutions, each with its ReLU."""
    for conv in (pair[0], pair[3]):
        x = conv(x)
        if x.dtype == torch.bfloat16:  # torch would go by way of float32
            band_kernels.rectify_bfloat16(_array(x))
        else:
            x.relu_()
    return x


def _image(channels: int, rows: int, cols: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.empty((1, rows, cols, channels), dtype=dtype).permute(0, 3, 1, 2)


def _array(image: torch.Tensor) -> np.ndarray:
    """An image as NumPy sees it, (rows, cols, channels), in the same memory."""
    image = image.permute(0, 2, 3, 1)[0]
    if image.dtype == torch.bfloat16:
        image = image.view(torch.int16)
        return image.numpy().view(np.uint16)
    return image.numpy()


def runs_in_bands(network: object) -> bool:
    """Whether `Bands` knows this network."""
    from .unet import UNet

    return type(network) is UNet
