"""One rule for every output of every command and dock.

Only a result of ours with the same recipe is gone on with, or found to be there already; anything
else stays as it is unless the user says that it may be replaced (``--overwrite``).
"""

from __future__ import annotations

import contextlib
import filecmp
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from .errors import InputsChangedError, OutputError
from .files import cannot_write, make_folder, read_json, remove, write_atomically
from .frame_store import state_of_inputs
from .locks import alone
from .recipes import recipe_hash


def taken(path: str | Path) -> OutputError:
    """The one sentence for an output that is something else."""
    return OutputError(
        f"{path} already holds something else; choose another name or allow overwriting "
        "(--overwrite)."
    )


def as_before(before: dict[str, Any], made: dict[str, Any]) -> dict[str, Any] | None:
    """The recipe of a result that is there, if `made` gives the same result; None otherwise.

    It differs from `made` in when and by which version the result was made, at most.
    """
    with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
        if recipe_hash(before) == recipe_hash(json.loads(json.dumps(made))):
            return before
    return None


def write_once(path: str | Path, data: bytes, overwrite: bool) -> bool:
    """Write a file whose recipe is its content; False if it is there already.

    Raises
    ------
    OutputError
        Something else is there, or the folder cannot be written.
    """
    path = Path(path).expanduser()
    make_folder(path.parent)
    with alone(path):
        try:
            if path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data:
                return False
        except OSError as error:
            raise cannot_write(path, error) from error
        if path.exists() and not overwrite:
            raise taken(path)
        write_atomically(path, data)
    return True


@contextlib.contextmanager
def made_aside(path: str | Path, overwrite: bool = False) -> Iterator[Path]:
    """The block makes a result that has no recipe: it is known by its content.

    The block is given a path of the same name in a folder of its own. When it ends well, the file
    or folder made there and what was made beside it (such as a recipe) take their places; what is
    there already and is equal stays as it is.

    Parameters
    ----------
    path : path
        Of the result.
    overwrite : bool
        Whatever else is there may be replaced.

    Raises
    ------
    OutputError
        Something else is there, the folder cannot be written, or another process writes it now.
    """
    path = Path(path).expanduser()
    make_folder(path.parent)
    with alone(path):
        aside = path.with_name(f"{path.name}.tmp")
        shutil.rmtree(aside, ignore_errors=True)  # of a run that was killed
        try:
            remove(aside)
            aside.mkdir()
            yield aside / path.name
            # the result last, so that what belongs to it is there when it is
            made = sorted(aside.iterdir(), key=lambda new: (new.name == path.name, new.name))
            places = [(new, path.with_name(new.name)) for new in made]
            places = [(new, place) for new, place in places if not _equal(new, place)]
            for _, place in places:
                if os.path.lexists(place) and not overwrite:
                    raise taken(place)
            for new, place in places:
                _take_place(new, place, aside)
        except OutputError as error:
            said = str(error).replace(f"{aside}{os.sep}", f"{path.parent}{os.sep}")
            raise OutputError(said) from error
        except OSError as error:
            raise cannot_write(path, error) from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def _equal(new: Path, there: Path) -> bool:
    """Whether two files, or folders with all that is in them, are the same to the byte."""
    if not new.is_dir():
        return there.is_file() and filecmp.cmp(new, there, shallow=False)
    if not there.is_dir():
        return False
    names = {path.name for path in new.iterdir()}
    return names == {path.name for path in there.iterdir()} and all(
        _equal(new / name, there / name) for name in names
    )


def _take_place(new: Path, place: Path, aside: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        os.replace(place, aside / f"{place.name}.before")
    elif new.is_dir():
        remove(place)
    os.replace(new, place)


@contextlib.contextmanager
def held(*paths: str | Path | None) -> Iterator[None]:
    """The block writes these files: another process that wants to write one is told so."""
    with contextlib.ExitStack() as stack:
        for path in paths:
            if path:
                path = Path(path).expanduser()
                make_folder(path.parent)
                stack.enter_context(alone(path))
        yield


class ResultFolder:
    """A folder of files that a job writes at its end, under ``recipe.json``.

    Parameters
    ----------
    folder : path
    made : dict
        From `core.recipes.recipe`.
    names : sequence of str
        Patterns of the files that the job writes; other files in the folder are the user's.
    inputs : iterable of Scan, stack, path or None
        What the job reads; see `frame_store.state_of_inputs`.
    overwrite : bool
        Replace another result, or one of inputs that changed.

    Attributes
    ----------
    finished : bool
        Whether the very result is there.

    Raises
    ------
    OutputError
        The folder holds another result; or what this one was made of has changed.
    """

    def __init__(
        self,
        folder: str | Path,
        made: dict[str, Any],
        names: Sequence[str],
        *,
        inputs: Iterable[Any] = (),
        overwrite: bool = False,
    ) -> None:
        self.path = Path(folder).expanduser()
        self._names = names
        self._recipe = self.path / "recipe.json"
        self._made = {**made, "hash": recipe_hash(made), "inputs": state_of_inputs(*inputs)}
        self._made = json.loads(json.dumps(self._made))
        there = read_json(self._recipe)
        same = there.get("hash") == self._made["hash"]
        found = [path for path in (self._recipe, *self._files()) if path.exists()]
        if found and not same and not overwrite:
            raise taken(found[0] if self._recipe not in found else self.path)
        changed = same and there.get("inputs") != self._made["inputs"]
        if changed and not overwrite:
            raise InputsChangedError(
                f"What {self.path} was made of has changed since; make it anew with --overwrite."
            )
        names_there = there.get("files") if same and not changed else None
        self.finished = bool(names_there) and all(
            isinstance(name, str) and (self.path / name).exists() for name in names_there or ()
        )
        if same and not changed:
            self._made = {k: v for k, v in there.items() if k != "files"}

    def _files(self) -> list[Path]:
        return sorted(path for name in self._names for path in self.path.glob(name))

    def held(self) -> contextlib.AbstractContextManager[None]:
        """The block works on it: another process that wants to write it is told so."""
        make_folder(self.path)
        return alone(self._recipe, self.path)

    @contextlib.contextmanager
    def written(self) -> Iterator[None]:
        """The block writes the files; those of another result go first.

        Raises
        ------
        OutputError
            The folder cannot be written, or another process writes it now.
        """
        with self.held():
            # first, so that files without it are somebody else's
            write_atomically(self._recipe, json.dumps(self._made, indent=1) + "\n")
            for old in self._files():
                remove(old)
            yield
            files = [path.name for path in self._files()]
            whole = {**self._made, "files": files}
            write_atomically(self._recipe, json.dumps(whole, indent=1) + "\n")
