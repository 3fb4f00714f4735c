"""Virtual LabDCT scans: samples, source, projector, and the job that writes a scan."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "source": ["Beam", "tungsten_spectrum"],
        "sample": ["PRESETS", "box_mask", "cylinder_mask", "make_sample", "preset_sample"],
        "prediction": ["PredictSettings", "Prediction", "settings_for", "settings_of_map"],
        "projector": ["Projection", "Projector", "predict_spots"],
        "settings": ["SimulateSettings"],
        "run": ["Simulation", "SimulationOutput", "preview_frame", "simulate_scan"],
    },
)
