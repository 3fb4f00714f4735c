"""YAML that a user wrote: small, without objects, and read or refused in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ..core.errors import ScanError, reason
from .regular import read_bytes

_MOST_ENTRIES = 1_000_000
#: A description that somebody wrote is never longer.
MOST_BYTES = 2 << 20


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # C: 20 times as fast
    """As `yaml.SafeLoader`, but merged mappings do not grow without end."""

    _merged = 0

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        super().flatten_mapping(node)
        self._merged += len(node.value)
        if self._merged > _MOST_ENTRIES:
            raise yaml.YAMLError("its merged mappings are too large")


def read_yaml(path: str | Path) -> Any:
    """The values of a YAML file; None if it is empty.

    Raises
    ------
    ScanError
        It is not YAML, or too large.
    """
    path = Path(path)
    try:
        return yaml.load(read_bytes(path, MOST_BYTES).decode("utf-8"), _Loader)
    except ScanError:
        raise
    except Exception as error:  # YAML's makers of dates, numbers... fail in their own ways
        why = "it is nested too deep" if isinstance(error, RecursionError) else reason(error)
        raise ScanError(f"{path} cannot be read as YAML ({why}); correct it.") from error
