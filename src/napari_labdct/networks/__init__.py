"""Trained networks at work: networks by name, model files, devices, denoising.

Nothing here learns; that is `training`."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "model": ["Model"],
        "denoising": ["DenoiseSettings", "Denoiser"],
        "devices": ["devices", "resolve_device"],
        "library": ["find_model", "list_models"],
        "registry": ["build_network"],
    },
)
