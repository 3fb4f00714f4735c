"""Pictures of a map show what it holds."""

from __future__ import annotations

import numpy as np
import pytest

from napari_labdct.core.errors import SettingsError
from napari_labdct.crystal import ipf_colour
from napari_labdct.grains.pictures import map_figure


def test_a_slice_has_the_colours_of_its_grains(small):
    result = small.result
    figure = map_figure(result)
    shown = figure.axes[2].images[0]
    middle = result.part_labels[result.part_labels.shape[0] // 2]
    grains = np.unique(middle[middle > 0])
    assert len(grains) > 2
    image = np.asarray(shown.get_array())
    for grain in grains:
        colour = ipf_colour(result.part_orientations[grain - 1], result.material.symmetry)
        np.testing.assert_allclose(
            image[middle == grain], np.broadcast_to(colour, image[middle == grain].shape), atol=1e-6
        )
    assert shown.get_extent() == pytest.approx([-35, 35, -35, 35])
    share = np.asarray(figure.axes[5].images[0].get_array().filled(np.nan))
    np.testing.assert_allclose(
        share[middle > 0], result.completeness[len(result.completeness) // 2][middle > 0]
    )


def test_a_list_of_grains_has_no_slices(small):
    from dataclasses import replace

    with pytest.raises(SettingsError, match="no slices"):
        map_figure(replace(small.result, grains=None))
