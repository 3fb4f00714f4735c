"""Make the table of tungsten spectra that the simulator ships.

    pip install spekpy        # a development dependency only: 215 MB
    python scripts/make_spectra.py

Anode: tungsten, 15 degrees, behind 0.5 mm Be and 220 mm air and nothing else; other filters are
put in by the simulator. Columns: photons per keV, mm^2 and mAs at 1 m from the focus, in bins of
0.5 keV.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import spekpy

TUBE_KV = range(30, 181, 10)
STEP_KEV = 0.5
TARGET = Path(__file__).parents[1] / "src/napari_labdct/simulation/data/tungsten_spectra.csv"


def main() -> None:
    """Write the table to `TARGET`."""
    energy = np.arange(STEP_KEV / 2, max(TUBE_KV), STEP_KEV)
    columns = [energy]
    for kv in TUBE_KV:
        tube = spekpy.Spek(kvp=kv, th=15, dk=STEP_KEV, z=100, mas=1)
        tube.filter("Be", 0.5).filter("Air", 220)
        centre, fluence = tube.get_spectrum(edges=False)
        columns.append(np.interp(energy, centre, fluence / 100, left=0, right=0))
        print(f"{kv} kV: {columns[-1].sum() * STEP_KEV:.4g} photons/mm^2/mAs at 1 m")
    kept = energy > 5
    header = (
        f"Tungsten anode 15 deg, 0.5 mm Be, 220 mm air; spekpy {spekpy.__version__}, "
        f"scripts/make_spectra.py\nphotons/keV/mm^2/mAs at 1 m; bin centre in keV, then one "
        f"column per tube voltage in kV:\nenergy_kev,{','.join(map(str, TUBE_KV))}"
    )
    TARGET.parent.mkdir(exist_ok=True)
    np.savetxt(TARGET, np.array(columns).T[kept], fmt="%.5g", delimiter=",", header=header)
    print(f"{TARGET}: {TARGET.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
