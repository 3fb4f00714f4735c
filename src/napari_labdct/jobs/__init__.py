"""Jobs by name: what commands, recipes and batches of scans run."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(__name__, submod_attrs={"registry": ["JOBS"]})
