"""Recipes of several steps, and many scans that go through one."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "campaign": ["Campaign"],
        "recipe_file": ["Recipe", "Step", "read_recipe"],
        "runner": ["run_scan"],
    },
)
