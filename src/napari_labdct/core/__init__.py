"""The ground floor: faults, settings, files, recipes, result files, compiled loops.

Nothing here knows what a scan is; every other room stands on it."""

from . import first_moments  # noqa: F401  # isort: skip  # before what takes time

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "errors": ["LabDCTError"],
        "parameters": ["Param", "Settings"],
        "jobs": ["FrameJob", "Output", "Progress"],
        "frame_store": ["FrameStore"],
        "stacks": ["LazyStack"],
        "registry": ["Registry"],
        "recipes": ["recipe", "recipe_beside", "recipe_hash"],
    },
)
