"""The user's own models: added, renamed, deleted."""

from __future__ import annotations

import filecmp
import os
import re
from pathlib import Path

from ..core.errors import ModelError, OutputError
from ..core.outputs import write_once
from .library import SUFFIX, ListedModel, list_models, user_models_dir
from .model import Model


def import_model(
    path: str | os.PathLike, name: str | None = None, overwrite: bool = False
) -> ListedModel:
    """Copy a model file into the user's folder, once it has been seen to work.

    Parameters
    ----------
    path : str or path
    name : str, optional
        What to call it; as the file if not given.
    overwrite : bool
        Replace an own model of that name.

    Raises
    ------
    ModelError
        The file is no usable model, or the name cannot be used.
    OutputError
        The folder cannot be written.
    """
    path = Path(path).expanduser()
    name = path.stem if name is None else name
    same = user_models_dir() / f"{name.strip().removesuffix(SUFFIX)}{SUFFIX}"
    if _alike(path, same):
        return ListedModel(same.stem, same, shipped=False)
    target = _new_path(name, overwrite)
    Model.load(path, "cpu")  # says what is wrong with it
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        data = path.read_bytes()
    except OSError as error:
        raise OutputError(f"'{path}' cannot be copied ({error.strerror or error}).") from error
    write_once(target, data, overwrite)
    return ListedModel(target.stem, target, shipped=False)


def rename_model(name: str, new_name: str) -> ListedModel:
    """Give an own model another name.

    Raises
    ------
    ModelError
        It is no own model, or the new name cannot be used.
    OutputError
        The file cannot be renamed.
    """
    path, target = _own(name), _new_path(new_name)
    try:
        path.rename(target)
    except OSError as error:
        raise OutputError(f"'{path}' cannot be renamed ({error.strerror or error}).") from error
    return ListedModel(target.stem, target, shipped=False)


def delete_model(name: str) -> None:
    """Delete an own model.

    Raises
    ------
    ModelError
        It is no own model.
    OutputError
        The file cannot be deleted.
    """
    path = _own(name)
    try:
        path.unlink()
    except OSError as error:
        raise OutputError(f"'{path}' cannot be deleted ({error.strerror or error}).") from error


def _alike(path: Path, other: Path) -> bool:
    try:
        return filecmp.cmp(path, other, shallow=False)
    except OSError:
        return False


def _own(name: str) -> Path:
    for model in list_models():
        if model.name == name:
            if model.shipped:
                raise ModelError(f"'{name}' comes with the package and stays as it is.")
            return model.path
    raise ModelError(f"There is no own model '{name}' in {user_models_dir()}.")


def _new_path(name: str, overwrite: bool = False) -> Path:
    """The file of a new name; a name is a word that every file system takes."""
    name = name.strip().removesuffix(SUFFIX)
    if not re.fullmatch(r"\w[\w .+-]{0,99}", name) or name.endswith("."):
        raise ModelError(
            f"'{name}' cannot be a model's name; use letters, digits, spaces, '-', '_' and '.'."
        )
    for model in list_models():
        if model.name.casefold() == name.casefold() and (model.shipped or not overwrite):
            kind = "comes with the package" if model.shipped else "is there already"
            raise ModelError(f"A model called '{model.name}' {kind}; choose another name.")
    return user_models_dir() / f"{name}{SUFFIX}"
