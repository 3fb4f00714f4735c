"""Damage to files, the same for the same number: what disks, copies and other programs do to them.

A mutator takes the content of a sound file and a random generator and gives other content.  Those
of structured files (JSON, YAML, HDF5, npz, safetensors, TIFF, Parquet) change what a file *says*
and keep its form; `damaged` breaks the form itself.
"""

from __future__ import annotations

import io
import json
import random
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

Mutator = Callable[[bytes, random.Random], bytes]

#: Numbers that nobody expects, as they are written.
NUMBERS = (
    "0",
    "-1",
    "1",
    "nan",
    "NaN",
    "inf",
    "-inf",
    "Infinity",
    "1e308",
    "1e309",
    "-1e308",
    "1e-320",
    "2147483647",
    "2147483648",
    "-2147483649",
    "4294967296",
    "9223372036854775808",
    "9" * 400,
    "1e400",
    "0x10",
    "1_000",
    "1,5",
    "+-3",
    "1.2.3",
    "--",
    "",
    "?",
    ".",
    "٣",
    "1e",
    "true",
    "null",
)
#: Values that nobody expects in a tree of values.
VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    2**31,
    2**63,
    -(2**63),
    10**400,
    1e308,
    -1e308,
    1e-320,
    0.5,
    float("nan"),
    float("inf"),
    -float("inf"),
    "",
    "x",
    "nan",
    "1e309",
    "\0",
    "\n\n",
    "é" * 50,
    "q" * 100_000,
    "../../etc/passwd",
    "/dev/zero",
    [],
    {},
    [[]],
    [None],
    [1, "a", None],
    {"a": {"b": []}},
    [0] * 5000,
    [[1, 2, 3]] * 300,
    {str(k): k for k in range(300)},
)
_INTEGERS = (
    0,
    1,
    -1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    1 << 40,
)


# ------------------------------------------------------------------------- bytes


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Bytes changed, lost, added, moved or doubled, once to a few times."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        rng.choice(_DAMAGES)(data, rng)
    return bytes(data)


def _at(data: bytearray, rng: random.Random) -> int:
    """A place; half of the time near the beginning, where headers are."""
    most = len(data) if rng.random() < 0.5 else min(len(data), 512)
    return rng.randrange(max(most, 1))


def _flip(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 2, 8, 64))):
        if data:
            data[_at(data, rng)] ^= 1 << rng.randrange(8)


def _set(data: bytearray, rng: random.Random) -> None:
    value, size = rng.choice(_INTEGERS), rng.choice((1, 2, 4, 8))
    at = _at(data, rng)
    packed = (value & ((1 << 8 * size) - 1)).to_bytes(size, rng.choice(("little", "big")))
    data[at : at + size] = packed


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.choice((0, _at(data, rng), len(data) // 2, max(len(data) - 1, 0))) :]


def _lose(data: bytearray, rng: random.Random) -> None:
    at = _at(data, rng)
    del data[at : at + rng.choice((1, 3, 16, 300))]


def _add(data: bytearray, rng: random.Random) -> None:
    piece = rng.choice((b"\0", b"\xff", b"\n", b"[", b"<", b'"', b"-", rng.randbytes(4)))
    at = _at(data, rng)
    data[at:at] = piece * rng.choice((1, 2, 100, 5000))


def _double(data: bytearray, rng: random.Random) -> None:
    at, size = _at(data, rng), rng.choice((1, 8, 64, 1000))
    to = _at(data, rng)
    data[to:to] = data[at : at + size] * rng.choice((1, 2, 20))


def _move(data: bytearray, rng: random.Random) -> None:
    at, to, size = _at(data, rng), _at(data, rng), rng.choice((2, 4, 8, 32))
    data[to : to + size] = data[at : at + size]


def _blank(data: bytearray, rng: random.Random) -> None:
    at, size = _at(data, rng), rng.choice((4, 64, 1000))
    data[at : at + size] = bytes([rng.choice((0, 255, 32))]) * len(data[at : at + size])


_DAMAGES = (_flip, _flip, _set, _set, _cut, _lose, _add, _double, _move, _blank)


# -------------------------------------------------------------------------- text


def reworded(content: bytes, rng: random.Random) -> bytes:
    """Text with other numbers, words, lines or marks between them."""
    if rng.random() < 0.2:
        return damaged(content, rng)
    text = content.decode("utf-8", errors="replace")
    for _ in range(rng.choice((1, 1, 2, 5))):
        text = rng.choice(_WORDINGS)(text, rng)
    encoding = rng.choice(("utf-8",) * 8 + ("utf-8-sig", "utf-16", "utf-16-le", "utf-32"))
    return text.encode(encoding, errors="replace")


def _tokens(text: str) -> list[tuple[int, int]]:
    """Begin and end of words and numbers."""
    found, start = [], None
    for at, sign in enumerate(text[:20_000]):
        part = sign.isalnum() or sign in "._+-"
        if part and start is None:
            start = at
        elif not part and start is not None:
            found.append((start, at))
            start = None
    return found


def _other_number(text: str, rng: random.Random) -> str:
    places = [s for s in _tokens(text) if any(c.isdigit() for c in text[s[0] : s[1]])]
    if not places:
        return text + rng.choice(NUMBERS)
    start, end = rng.choice(places)
    return text[:start] + rng.choice(NUMBERS) + text[end:]


def _other_word(text: str, rng: random.Random) -> str:
    places = _tokens(text)
    if not places:
        return "word " * 3
    start, end = rng.choice(places)
    a, b = rng.choice(places)
    word = rng.choice(
        (text[a:b], "", "x" * 100_000, "é", "\0", "None", "[1, 2]", "&a *a", "''", "%s")
    )
    return text[:start] + word + text[end:]


def _other_lines(text: str, rng: random.Random) -> str:
    lines = text.splitlines(keepends=True) or [""]
    at = rng.randrange(len(lines))
    how = rng.randrange(5)
    if how == 0:
        del lines[at]
    elif how == 1:
        lines.insert(at, lines[rng.randrange(len(lines))])
    elif how == 2:
        lines[at] = lines[at].strip() * rng.choice((2, 1000)) + "\n"
    elif how == 3:
        rng.shuffle(lines)
    else:
        lines = lines[:at] * rng.choice((1, 50))
    return "".join(lines)


def _other_marks(text: str, rng: random.Random) -> str:
    signs = [k for k, c in enumerate(text[:20_000]) if not c.isalnum()] or [0]
    at = rng.choice(signs)
    mark = rng.choice(
        (",", ";", "\t", " ", ":", "\n", '"', "'", "{", "[", "]", "}", "#", "\r", "!", "|", "<")
    )
    return text[:at] + mark * rng.choice((1, 1, 2, 3000)) + text[at + 1 :]


_WORDINGS = (_other_number, _other_number, _other_word, _other_lines, _other_marks)


# ------------------------------------------------------------------ trees of values


def changed_tree(tree: Any, rng: random.Random) -> Any:
    """A tree of dicts, lists and values with one to a few of its parts changed."""
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        tree = _change(tree, rng)
    return tree


def _places(tree: Any, found: list, depth: int = 0) -> list:
    parts = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in list(parts)[:200]:
        found.append((tree, key))
        if isinstance(value, (dict, list)) and depth < 20:
            _places(value, found, depth + 1)
    return found


def _change(tree: Any, rng: random.Random) -> Any:
    if not isinstance(tree, (dict, list)) or rng.random() < 0.05:
        return _copied(rng.choice(VALUES))
    places = _places(tree, [])
    if not places:
        return _copied(rng.choice(VALUES))
    parent, key = rng.choice(places)
    how = rng.randrange(8)
    if how == 0:
        del parent[key]
    elif how == 1:
        other, there = rng.choice(places)
        parent[key] = _copied(_get(other, there))
    elif how == 2:
        parent[key] = [_copied(parent[key])] * rng.choice((1, 2, 40))
    elif how == 3 and isinstance(parent, dict):
        parent[rng.choice((f"{key}x", "", "é", "a" * 500))] = parent.pop(key)
    elif how == 4:
        parent[key] = str(parent[key])
    elif how == 5 and isinstance(parent[key], (int, float)) and abs(parent[key]) < 1e12:
        parent[key] = parent[key] * rng.choice((-1, 0, 0.37, 1e6, 1e15))
    else:
        parent[key] = _copied(rng.choice(VALUES))
    return tree


def _get(parent: Any, key: Any) -> Any:
    try:
        return parent[key]
    except (KeyError, IndexError):
        return None


def _copied(value: Any) -> Any:
    """Of its own, and never deep enough to hold itself."""
    if isinstance(value, dict):
        return {k: _copied(v) for k, v in value.items()}
    return [_copied(v) for v in value] if isinstance(value, list) else value


def json_changed(content: bytes, rng: random.Random) -> bytes:
    """JSON whose values, types and names are others; deep nesting; or damaged."""
    kind = rng.random()
    if kind < 0.2:
        return reworded(content, rng)
    if kind < 0.25:
        return rng.choice((b"[", b'{"a":', b'[{"b":')) * rng.choice((500, 100_000))
    tree = changed_tree(json.loads(content), rng)
    text = json.dumps(tree)
    if kind < 0.3:
        deep = rng.choice((200, 3000))
        text = text.replace(rng.choice(("0", "1", "null", '""')), "[" * deep + "]" * deep, 1)
    return text.encode()


def lines_changed(content: bytes, rng: random.Random) -> bytes:
    """JSON lines, one to a few of them changed."""
    if rng.random() < 0.3:
        return reworded(content, rng)
    lines = content.splitlines()
    for _ in range(rng.choice((1, 1, 3))):
        at = rng.randrange(len(lines))
        try:
            lines[at] = json_changed(lines[at], rng).replace(b"\n", b" ")
        except ValueError:
            lines[at] = damaged(lines[at], rng)
    return b"\n".join(lines) + b"\n"


_YAML_TRAPS = (
    "2026-99-99",
    "!!int x",
    "!!float y",
    "!!timestamp 1",
    "!!python/object:os.system {}",
    "*nobody",
    "&a [*a]",
    "!!binary ~~~",
    "{<<: 3}",
    "? [a]: b",
    "1:2:3:99",
    "0o99",
    "!!set {a, b}",
    "!!omap [a: 1]",
    "=",
    "!!merge x",
    "@x",
    "`",
    "!!null 3",
    "!!bool 4",
    "-.inf",
    ".nan",
    "0b",
    "1__",
    "! x",
    "2001-01-01",
)


def yaml_changed(content: bytes, rng: random.Random) -> bytes:
    """YAML with other values, values that are refused late, and names that expand without end."""
    import yaml

    kind = rng.random()
    if kind < 0.3:
        return reworded(content, rng)
    if kind < 0.35:
        rounds = rng.choice((4, 9, 25))
        name = rng.choice(("frames", "omega_deg", "beam_stop_px", "material"))
        bomb = ["a0: &a0 [x, x, x]"] + [
            f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, rounds)
        ]
        return "\n".join([*bomb, f"{name}: *a{rounds - 1}"]).encode()
    if kind < 0.38:
        rounds = rng.choice((4, 25))
        bomb = ["a0: &a0 {x: 1}"] + [
            f"a{k}: &a{k} {{<<: [{', '.join([f'*a{k - 1}'] * 9)}]}}" for k in range(1, rounds)
        ]
        return "\n".join(bomb).encode()
    if kind < 0.41:
        return rng.choice((b"[", b"{a: ", b"- ", b"? ")) * rng.choice((300, 20_000))
    tree = yaml.safe_load(content)
    if kind < 0.6:
        parent, key = rng.choice(_places(tree, []))
        parent[key] = "TRAP"
        return yaml.safe_dump(tree).replace("TRAP", rng.choice(_YAML_TRAPS)).encode()
    return yaml.safe_dump(changed_tree(tree, rng), allow_unicode=True).encode("utf-8", "replace")


# ---------------------------------------------------------------------- arrays


def other_array(array: np.ndarray, rng: random.Random) -> np.ndarray:
    """Another shape, type or other values."""
    how = rng.randrange(9)
    array = np.array(array)
    if how == 0:
        return (
            array.astype(object).astype("S8") if array.dtype.kind != "V" else np.zeros(array.shape)
        )
    if how == 1:
        return array.ravel()[: rng.choice((0, 1, 2, 5))]
    if how == 2:
        return np.zeros(rng.choice(((), (0,), (3,), (1, 1), (2, 3, 4), (1, 1, 1, 1, 1))), "f4")
    if how == 3:
        return array[None] if rng.random() < 0.5 else np.repeat(array[None], 3, 0)
    if how == 4 and array.dtype.kind in "iuf":
        kind = rng.choice(("f8", "f2", "i1", "u8", "?", "c16", ">i4", "f4"))
        with np.errstate(all="ignore"):
            return array.astype(kind)
    if how == 5 and array.dtype.names:
        kept = [n for n in array.dtype.names if rng.random() < 0.7] or [array.dtype.names[0]]
        return (
            np.array(array[kept].tolist(), [(n, rng.choice(("f8", "i8", "S5"))) for n in kept])
            if rng.random() < 0.5
            else np.array(array[kept])
        )
    return _other_values(array, rng)


def _other_values(array: np.ndarray, rng: random.Random) -> np.ndarray:
    if array.dtype.names:
        array = np.array(array, copy=True)
        name = rng.choice(array.dtype.names)
        array[name] = _other_values(array[name], rng).astype(array.dtype[name], copy=False)
        return array
    if array.dtype.kind not in "iuf" or not array.size:
        return np.zeros(array.shape, "i4")
    with np.errstate(all="ignore"):
        if array.dtype.kind == "f" or rng.random() < 0.5:
            array = array.astype(float)
            value = rng.choice(
                (np.nan, np.inf, -np.inf, 1e308, -1e308, 1e-320, 0.0, -1.0, 1e10, 0.5)
            )
        else:
            info = np.iinfo(array.dtype)
            value = rng.choice((info.min, info.max, 0, 1, info.max // 2))
        array = np.array(array, copy=True)
        flat = array.reshape(-1)
        where = rng.choice((slice(None), slice(0, 1), slice(None, None, 3), slice(-1, None)))
        flat[where] = value
    return array


def hdf5_changed(content: bytes, rng: random.Random) -> bytes:
    """An HDF5 file with other data sets, attributes, links and declared sizes; or damaged."""
    if rng.random() < 0.3:
        return damaged(content, rng)
    import h5py

    held = io.BytesIO(content)
    with h5py.File(held, "r+") as file:
        for _ in range(rng.choice((1, 1, 2))):
            _change_hdf5(file, rng)
    return held.getvalue()


def _change_hdf5(file: Any, rng: random.Random) -> None:
    import h5py

    names: list[str] = []
    file.visit(names.append)
    name = rng.choice(names)
    if rng.random() < 0.25:
        holder = rng.choice([file, *(file[n] for n in names if n in file)])
        if len(holder.attrs):
            _change_attribute(holder, rng)
            return
    try:
        item = file[name]
    except KeyError:
        return
    data = (
        item[()]
        if isinstance(item, h5py.Dataset) and item.size is not None and item.size < 1e6
        else np.zeros(3)
    )
    shape = getattr(item, "shape", None) or (4, 4, 4)
    dtype = np.asarray(data).dtype if np.asarray(data).dtype.kind in "iuf" else np.dtype("f4")
    del file[name]
    how = rng.randrange(12)
    if how == 0:
        file.create_group(name)
    elif how == 1:
        file[name] = rng.choice((h5py.SoftLink("/" + name), h5py.SoftLink("/nothing")))
    elif how == 2:
        file[name] = h5py.ExternalLink(rng.choice(("/etc/passwd", "other.h5", "/dev/zero")), "/x")
    elif how == 3:  # declares terabytes and holds nothing, or a corner
        huge = tuple(rng.choice((n, 20_000, 10**6)) for n in shape)
        chunks = tuple(min(n, 8) for n in huge)
        made = file.create_dataset(name, huge, dtype, chunks=chunks, compression="gzip")
        if rng.random() < 0.5:
            made[tuple(slice(0, 1) for _ in huge)] = 1
    elif how == 4:  # contiguous, never written
        file.create_dataset(name, tuple(rng.choice((n, 5000)) for n in shape), dtype)
    elif how == 5:
        file.create_dataset(name, data=h5py.Empty("f4"))
    elif how == 6:
        file[name] = rng.choice((b"text", "text", np.array([b"a", b"b"]), 1.5, np.nan, 10**18))
    elif how == 7:
        layout = h5py.VirtualLayout(shape, dtype)
        layout[...] = h5py.VirtualSource(rng.choice(("../out.h5", "/etc/passwd", ".")), "x", shape)
        file.create_virtual_dataset(name, layout)
    elif how == 8:
        file.create_dataset(
            name,
            shape,
            dtype,
            external=[(rng.choice(("/etc/passwd", "x.raw")), 0, h5py.h5f.UNLIMITED)],
        )
    else:
        changed = other_array(np.asarray(data), rng)
        try:
            file[name] = changed
        except TypeError:
            file[name] = np.zeros(changed.shape)


def _change_attribute(holder: Any, rng: random.Random) -> None:
    import h5py

    name = rng.choice(list(holder.attrs))
    value = holder.attrs[name]
    how = rng.randrange(5)
    del holder.attrs[name]
    if how == 0:
        return
    if how == 1 and isinstance(value, str):
        try:
            holder.attrs[name] = (
                json_changed(value.encode(), rng)
                .decode("utf-8", "replace")
                .replace("\0", "")[:60_000]
            )
        except ValueError:
            holder.attrs[name] = (
                reworded(value.encode(), rng).decode("utf-8", "replace").replace("\0", "")[:60_000]
            )
        return
    holder.attrs[name] = rng.choice(
        (
            h5py.Empty("f8"),
            np.nan,
            np.inf,
            -1,
            0,
            10**15,
            "x",
            "q" * 10_000,
            np.zeros(3),
            np.zeros((2, 0)),
            np.array([b"a"]),
            1e308,
            True,
            b"\xff\xfe",
            np.array([2**40, 2**40, 2**40]),
        )
    )


def npz_changed(content: bytes, rng: random.Random) -> bytes:
    """A NumPy archive with other arrays, declared shapes and members; or damaged."""
    if rng.random() < 0.3:
        return damaged(content, rng)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {n: archive.read(n) for n in archive.namelist()}
    name = rng.choice(sorted(members))
    how = rng.randrange(5)
    if how == 0:
        del members[name]
    elif how == 1:
        members[name] = damaged(members[name], rng)
    elif how == 2:  # a header that declares more than follows
        head = io.BytesIO()
        array = np.load(io.BytesIO(members[name]))
        shape = rng.choice(
            ((10**6, 10**6), (10**9,), (-1,), (2**62, 4), (50_000, 50_000), (10**8, 0))
        )
        np.lib.format.write_array_header_1_0(
            head,
            {
                "descr": np.lib.format.dtype_to_descr(array.dtype),
                "fortran_order": False,
                "shape": shape,
            },
        )
        members[name] = head.getvalue() + array.tobytes()[:1000]
    elif how == 3:
        held = io.BytesIO()
        np.save(held, np.array([{"a": 1}], object), allow_pickle=True)
        members[name] = held.getvalue()
    else:
        held = io.BytesIO()
        np.save(held, other_array(np.load(io.BytesIO(members[name])), rng))
        members[name] = held.getvalue()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in members.items():
            archive.writestr(member, data)
    return out.getvalue()


def safetensors_changed(content: bytes, rng: random.Random) -> bytes:
    """A safetensors file whose header says something else, its JSON texts included; or damaged."""
    if rng.random() < 0.25:
        return damaged(content, rng)
    length = struct.unpack("<Q", content[:8])[0]
    head, body = json.loads(content[8 : 8 + length]), content[8 + length :]
    about = head.get("__metadata__", {})
    texts = [k for k, v in about.items() if v[:1] in '{["0123456789']
    if texts and rng.random() < 0.6:
        name = rng.choice(texts)
        about[name] = json_changed(about[name].encode(), rng).decode("utf-8", "replace")
    elif rng.random() < 0.3:  # weights that are no numbers
        body = (
            b"\xff" * len(body)
            if rng.random() < 0.5
            else damaged(body, rng)[: len(body)].ljust(len(body), b"\0")
        )
    else:
        head = changed_tree(head, rng)
    text = json.dumps(head).encode()
    size = len(text) if rng.random() < 0.95 else rng.choice((0, 1, 2**40, 2**63))
    return struct.pack("<Q", size) + text + body


def tiff_changed(content: bytes, rng: random.Random) -> bytes:
    """A TIFF whose tags say something else; or damaged."""
    if rng.random() < 0.4:
        return damaged(content, rng)
    data = bytearray(content)
    order = "<" if data[:2] == b"II" else ">"
    try:
        offsets, at = [], struct.unpack_from(order + "I", data, 4)[0]
        while at and len(offsets) < 50:
            offsets.append(at)
            count = struct.unpack_from(order + "H", data, at)[0]
            at = struct.unpack_from(order + "I", data, at + 2 + 12 * count)[0]
        for _ in range(rng.choice((1, 1, 2, 3))):
            ifd = rng.choice(offsets)
            count = struct.unpack_from(order + "H", data, ifd)[0]
            entry = ifd + 2 + 12 * rng.randrange(count)
            field, form = rng.choice(((0, "H"), (2, "H"), (4, "I"), (8, "I"), (8, "I"), (8, "I")))
            value = rng.choice((*_INTEGERS[:11], 16, 64, 5000, 50_000, 70_000, len(data)))
            struct.pack_into(
                order + form, data, entry + field, value & (0xFFFF if form == "H" else 0xFFFFFFFF)
            )
    except (struct.error, ValueError):
        return damaged(content, rng)
    return bytes(data)


def parquet_changed(content: bytes, rng: random.Random) -> bytes:
    """A Parquet table with other columns, types and missing values; or damaged."""
    if rng.random() < 0.4:
        return damaged(content, rng)
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(io.BytesIO(content), use_threads=False)
    name = rng.choice(table.column_names)
    at, rows = table.column_names.index(name), table.num_rows
    value = rng.choice(
        (
            None,
            "word",
            b"\xff",
            [1],
            {"a": 1},
            2**62,
            -5,
            float("nan"),
            float("inf"),
            True,
            "q" * 500,
        )
    )
    column = [value] * rows if rng.random() < 0.7 else [value, *table.column(at).to_pylist()[1:]]
    how = rng.randrange(4)
    if how == 0:
        table = table.remove_column(at)
    elif how == 1:
        about = json_changed((table.schema.metadata or {}).get(b"recipe", b"{}"), rng)
        table = table.replace_schema_metadata({"recipe": about})
    else:
        try:
            table = table.set_column(at, name, pyarrow.array(column))
        except (pyarrow.ArrowException, OverflowError):
            table = table.set_column(at, name, pyarrow.array(["odd"] * rows))
    out = io.BytesIO()
    pyarrow.parquet.write_table(table, out)
    return out.getvalue()
