"""Who carries a campaign elsewhere: a Dask cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from .._version import __version__
from ..core.errors import LabDCTError, reason

_WAIT_S = 10


class SchedulerError(LabDCTError):
    """The scheduler, or its workers, cannot be used."""


def version() -> str:
    """Of this package where it is asked: on a worker."""
    return __version__


@contextlib.contextmanager
def dask(address: str) -> Iterator[Any]:
    """An executor of the Dask cluster at an address, for `Campaign.run`.

    Raises
    ------
    SchedulerError
        The library is not there, nobody answers, or a worker has another version.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise SchedulerError(
            "Dask is not installed; install it with: pip install napari-labdct[dask]"
        ) from error
    try:
        client = Client(address, timeout=_WAIT_S)
    except (OSError, ValueError, TypeError) as error:
        raise SchedulerError(
            f"No Dask scheduler answers at {address} ({reason(error)}); check the address."
        ) from error
    with client:
        check_versions(client)
        yield client.get_executor(pure=False)


def check_versions(client: Any) -> None:
    """Refuse workers that would make other results, before anything is sent to them.

    Raises
    ------
    SchedulerError
        A worker has another version, or not this package; or there is no worker.
    """
    try:
        found = client.run(version)
    except Exception as error:
        raise SchedulerError(
            f"A Dask worker has no napari-labdct ({reason(error)}); install {__version__} there."
        ) from error
    if not found:
        raise SchedulerError("The Dask cluster has no worker; start one.")
    others = sorted({text for text in found.values() if text != __version__})
    if others:
        raise SchedulerError(
            f"Dask workers have napari-labdct {', '.join(others)}, this is {__version__}; install "
            "the same version."
        )


__all__ = ["SchedulerError", "check_versions", "dask", "version"]
