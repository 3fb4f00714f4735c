"""A file is whole or not there, whatever ends its writing."""

from __future__ import annotations

import contextlib
import resource

import numpy as np
import pytest

from napari_labdct.core.errors import OutputError
from napari_labdct.core.files import aside, atomic, atomic_hdf5, write_atomically


@contextlib.contextmanager
def _room_for(size: int):
    """Files may not pass so many bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("content", ["new", b"new"])
def test_text_and_bytes_take_the_place_of_the_old_file(content, tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    write_atomically(path, content)
    assert path.read_text() == "new"
    assert _names(tmp_path) == ["a"]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    with _room_for(1000), pytest.raises(OutputError, match=r"Cannot write .*too large"):
        write_atomically(path, b"x" * 2000)
    assert path.read_text() == "old"
    assert _names(tmp_path) == ["a"]


def test_a_block_that_fails_leaves_nothing_behind(tmp_path):
    def write() -> None:
        with atomic(tmp_path / "new" / "a") as part:
            part.write_text("half")
            raise KeyError("of the block")

    with pytest.raises(KeyError):
        write()
    assert _names(tmp_path / "new") == []


@pytest.mark.parametrize("room", [0, 100, 2048, 20_000, 60_000])
def test_hdf5_on_a_full_disk_is_one_sentence(room, tmp_path):
    """Without the guard HDF5 crashes the interpreter when it closes such a file."""
    path = tmp_path / "a.h5"
    path.write_text("old")

    def write() -> None:
        with atomic_hdf5(path) as file:
            file["numbers"] = np.random.default_rng(0).random(10_000)
            file.create_dataset("packed", data=np.arange(5000.0), compression="gzip")

    with _room_for(room), pytest.raises(OutputError, match=r"Cannot write .*too large"):
        write()
    assert path.read_text() == "old"
    assert _names(tmp_path) == ["a.h5"]


def test_hdf5_through_the_guard_is_read_back(tmp_path):
    import h5py

    numbers = np.random.default_rng(0).random(10_000)
    with atomic_hdf5(tmp_path / "new" / "a.h5") as file:
        file.create_dataset("numbers", data=numbers, compression="gzip")
    with h5py.File(tmp_path / "new" / "a.h5", "r") as file:
        np.testing.assert_array_equal(file["numbers"], numbers)


def test_what_is_set_aside_never_takes_a_name_that_is_there(tmp_path):
    path, names = tmp_path / "a", []
    for _ in range(3):
        aside(path).write_text("")
        names.append(_names(tmp_path))
    assert names[-1] == ["a.damaged", "a.damaged-2", "a.damaged-3"]


def test_no_message_has_two_lines_or_a_number_without_end():
    """Whatever a file holds: the one place that all messages go through sees to it."""
    from napari_labdct.core.errors import ScanError, reason

    said = str(ScanError(f"{'a' * 5}\n\nb.tif has {10**400} pixels; copy it again."))
    assert said.startswith("aaaaa b.tif has 1000")
    assert said.endswith("...  pixels; copy it again.".replace("  ", " "))
    assert len(said) < 100
    for text in ("it's 'U" + "<" * 300, "header: \"{'a': " + "x" * 300 + '"', "word" * 90):
        assert len(reason(ValueError(text))) <= 90
