"""What all tests share: no test touches the user's folders."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch) -> Path:
    """A folder of the test's own for last-used values and for results."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setattr("platformdirs.user_config_dir", lambda *a, **k: str(folder / "config"))
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda *a, **k: str(folder / "cache"))
    monkeypatch.setattr("platformdirs.user_data_dir", lambda *a, **k: str(folder / "data"))
    return folder
