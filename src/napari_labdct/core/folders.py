"""The folders of this package on the user's computer, where the platform wants them."""

from __future__ import annotations

from pathlib import Path

NAME = "napari-labdct"


def config_folder() -> Path:
    """Last-used values."""
    import platformdirs

    return Path(platformdirs.user_config_dir(NAME, appauthor=False))


def cache_folder() -> Path:
    """Results that can be computed again."""
    import platformdirs

    return Path(platformdirs.user_cache_dir(NAME, appauthor=False))


def data_folder() -> Path:
    """What the user keeps: models, background sets, reviews. Nothing is deleted by itself."""
    import platformdirs

    return Path(platformdirs.user_data_dir(NAME, appauthor=False))
