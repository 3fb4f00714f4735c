"""Recipes of several steps, and runs of them over one scan or hundreds."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "campaign": ["Campaign"],
        "recipe_file": ["Recipe", "read_recipe", "recipe_of_result"],
    },
)
