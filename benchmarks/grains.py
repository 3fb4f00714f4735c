"""How good a grain map is: a map against the truth of a simulated scan.

    python benchmarks/grains.py TRUTH.h5 MAP.h5

Prints the classes of table 2, misorientation, the boundary deviation of eq. 4, the share of voxels
that are right, and how many grains of each size were found.  Make the truth with
``labdct simulate`` (``grains.h5``) and the map with ``labdct grains``.
"""

from __future__ import annotations

import argparse

from napari_labdct.grains import compare_maps
from napari_labdct.io.grainmapper import read_grainmapper

EDGES_UM = [0, 15, 20, 30, 40, 60]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("truth")
    parser.add_argument("map")
    given = parser.parse_args()
    truth, made = read_grainmapper(given.truth), read_grainmapper(given.map)
    result = compare_maps(truth.grains, made.grains, truth.material.symmetry)
    print(result.summary())
    for edge, (found, every) in zip(EDGES_UM, result.found_by_size(EDGES_UM), strict=True):
        print(f"from {edge:3d} um: {found} of {every}")


if __name__ == "__main__":
    main()
