"""A stack is anything with shape, dtype and indexing; it is never needed whole."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt


class FrameStack(Protocol):
    """Anything a scan can be made of: ndarray, memmap, dask, zarr, xarray, `LazyStack`."""

    @property
    def shape(self) -> Any: ...  # tuple of int; some libraries say tuple of Any

    @property
    def dtype(self) -> Any: ...

    def __getitem__(self, key: Any, /) -> Any: ...


class LazyStack(ABC):
    """A stack ``(n, rows, cols)`` whose frames are made one at a time by `read`.

    Indexing behaves like NumPy's; a range of frames is read frame by frame, so only what
    is asked for is ever in memory.
    """

    ndim: ClassVar[int] = 3

    def __init__(self, shape: tuple[int, int, int], dtype: np.dtype | type) -> None:
        count, rows, cols = (int(n) for n in shape)
        self.shape = (count, rows, cols)
        self.dtype = np.dtype(dtype)

    @abstractmethod
    def read(self, index: int) -> np.ndarray:
        """Frame `index` (0-based, in range) as an array ``(rows, cols)``."""

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        key = key if isinstance(key, tuple) else (key,)
        if Ellipsis in key:
            at = key.index(Ellipsis)
            key = key[:at] + (slice(None),) * (4 - len(key)) + key[at + 1 :]
        first, rest = (key[0] if key else slice(None)), key[1:]
        if isinstance(first, (int, np.integer)):
            index = int(first) + (len(self) if first < 0 else 0)
            if not 0 <= index < len(self):
                raise IndexError(f"frame {first} of a stack of {len(self)}")
            return self.read(index)[rest]
        wanted = np.arange(len(self))[first]
        if wanted.size == 0:
            return np.empty((0, *self.shape[1:]), self.dtype)[(slice(None), *rest)]
        return np.stack([self.read(int(i))[rest] for i in wanted])

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype=dtype)
