"""Every command that writes: a disk that fills in the middle, two processes at once, Ctrl-C."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from crash_commands import COMMANDS

# What changes while a training goes on, each time as a whole.
CHECKPOINTS = ("last.safetensors", "best.safetensors")
WHOLE = (".tif", ".csv", ".h5", ".parquet", ".png", ".html", ".npz", ".safetensors", ".onnx")


def _limits(files: dict[str, bytes]) -> list[int]:
    """Sizes at which the largest and the smallest file of a result are half written."""
    sizes = sorted(len(data) for data in files.values() if len(data) > 64)
    return sorted({sizes[i] // 2 for i in (0, -1)})


@pytest.mark.parametrize("name", COMMANDS)
def test_a_disk_that_fills_in_the_middle(name, ask, undisturbed, look, tmp_path):
    whole = undisturbed(name)
    for limit in _limits(whole.files):
        out = tmp_path / str(limit)
        words = ask.words(name, out)
        full = ask(words, limit=limit)
        assert full.status == 1, (limit, full.printed)
        assert full.printed.count("labdct: ") == 1
        assert "free some space" in full.printed
        assert "Traceback" not in full.printed
        assert not _half(out, whole.files), limit
        again = ask(words)
        assert again.status == 0, (limit, again.printed)
        assert not look(out, whole.files), limit


def _half(out: Path, whole: dict[str, bytes]) -> list[Path]:
    """Files left over, or under a name of a result without being the result."""
    wrong = []
    for path in out.rglob("*"):
        result = path.is_file() and path.suffix in WHOLE and ".part." not in path.name
        if path.name.endswith(".tmp"):
            wrong.append(path)
        elif result and path.name not in CHECKPOINTS:
            wrong += [path] * (path.read_bytes() != whole.get(str(path.relative_to(out))))
    return wrong


@pytest.mark.parametrize("name", COMMANDS)
def test_killed_in_the_middle_of_a_write(name, ask, undisturbed, look, tmp_path):
    whole = undisturbed(name).files
    for limit in _limits(whole):
        out = tmp_path / str(limit)
        words = ask.words(name, out)
        wishes = [{"words": words, "limit": limit, "deadly": True}, {"words": words}]
        killed, again = ask.several([wishes])[0]
        assert killed.status == -signal.SIGXFSZ, (limit, killed.printed)
        assert again.status == 0, (limit, again.printed)
        assert not look(out, whole), limit


@pytest.mark.parametrize("name", COMMANDS)
def test_of_two_processes_the_second_says_so(name, ask, undisturbed, look, tmp_path):
    whole = undisturbed(name)
    words = ask.words(name, tmp_path)
    first = ask(words, at=whole.operations // 2 + 1, signal="SIGSTOP").stopped
    second = ask(words)
    first = ask(resume=first)
    assert second.status == 1, second.printed
    assert second.printed.count("labdct: ") == 1
    assert "Another process is writing" in second.printed
    assert first.status == 0, first.printed
    assert not look(tmp_path, whole.files)


@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c_is_one_sentence(name, ask, undisturbed, look, tmp_path):
    whole = undisturbed(name)
    words = ask.words(name, tmp_path)
    stopped = ask(words, at=whole.operations // 2 + 1, signal="SIGINT")
    assert stopped.status == 130, stopped.printed
    assert stopped.printed.count("labdct: ") == 1
    assert "Traceback" not in stopped.printed
    assert ask(words).status == 0
    assert not look(tmp_path, whole.files)
