"""Writing files so that nothing is ever half there."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from .errors import OutputError


def write_atomically(path: Path, text: str) -> None:
    """Write a small file so that a crash leaves the old one or the new one.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        remove(temporary)
        raise cannot_write(path, error) from error


def make_folder(path: str | Path) -> Path:
    """A folder for results, made if it is not there.

    Raises
    ------
    OutputError
        It cannot be made, or not be written to.
    """
    path = Path(path).expanduser()
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise cannot_write(path, error) from error
    return path


def remove(path: Path) -> None:
    """Delete a half-written file if it is there and can be deleted."""
    with contextlib.suppress(OSError):
        path.unlink()


def cannot_write(path: Path, error: OSError) -> OutputError:
    """The one sentence for a folder that is full, missing or read-only."""
    reason = error.strerror or str(error)
    return OutputError(f"Cannot write {path} ({reason}); choose another folder or free some space.")


def read_json(path: Path) -> dict[str, Any]:
    """What a recipe or sidecar says; empty if it is not there or damaged."""
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}
