"""Model files: safetensors, read with a check of their length, written at once."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import ModelError, reason
from ..core.files import write_atomically
from ..core.reading import check_regular
from ..core.schema import MOST_BYTES, check, parse_json

if TYPE_CHECKING:
    import torch


def read_file(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file.

    Raises
    ------
    ModelError
        The file cannot be read, is no safetensors file, or is cut short.
    """
    from safetensors import SafetensorError, safe_open

    check_regular(path, ModelError)
    try:
        _check_length(path)
        with safe_open(path, framework="pt", device="cpu") as file:
            return {k: file.get_tensor(k) for k in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except OSError as error:
        raise ModelError(f"Model file '{path}' cannot be read: {reason(error)}.") from error
    except (SafetensorError, ValueError) as error:
        raise ModelError(
            f"'{path.name}' is not a model file (.safetensors); choose one this package wrote."
        ) from error


def _check_length(path: Path) -> None:
    """Say that a file is cut short, which the library calls by many names."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        brace = file.read(1)
        if (brace != b"{" and size > 8) or length > MOST_BYTES:
            return  # not of this kind at all; the library will say so
        header = brace + file.read(length - 1) if brace and length + 8 <= size else b""
    table = check(parse_json(header or b"{}"), dict)
    ends = []
    for name, entry in table.items():
        if not name.startswith("__"):
            offsets = check(entry, {"data_offsets": [int]}, f"'{name[:40]}'")["data_offsets"]
            ends.append(offsets[1] if len(offsets) == 2 else size + 1)
    if not header or 8 + length + max(ends, default=0) > size:
        raise ModelError(f"Model file '{path.name}' is cut short; get it again or copy it again.")


def write_file(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file so that a crash leaves the old one or the new one.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    from safetensors.torch import save

    plain = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    write_atomically(path, _in_order(save(plain, metadata)))


def _in_order(data: bytes) -> bytes:
    """The file with its description in order, which the library shuffles: equal models are equal
    files.
    """
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header = {name: header[name] for name in sorted(header)}
    if "__metadata__" in header:
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data[8 + length :]
