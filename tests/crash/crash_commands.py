"""Every command that writes, in small, with what it reads."""

from __future__ import annotations

from pathlib import Path

_SMALL = "--rows=64 --cols=64 --pixel-um=100 --noise --background=50 --psf-px=0.8"
_GRAINS = (
    "--material=Fe --diameter-um=70 --height-um=90 --mean-grain-um=40 --source-sample-mm=11 "
    "--sample-detector-mm=18 --binning=8 --frames=40 --start-deg=-180 --step-deg=9 --voxel-um=6 "
    "--truth-min-grey=20 --seed=3"
)
#: What the commands below read.
GIVEN = (
    "simulate -o IN/sim --diameter-um=80 --height-um=80 --mean-grain-um=40 --frames=3 "
    f"--start-deg=10 --step-deg=25 {_SMALL}",
    f"simulate -o IN/grains {_GRAINS}",
    "simulate -o IN/few --diameter-um=80 --height-um=80 --mean-grain-um=40 --frames=12 "
    f"--start-deg=0 --step-deg=30 {_SMALL}",
    "background IN/five.tif -o IN/set.h5",
    "denoise IN/sim/scan.yaml -o IN/clean.tif --median-window 3 --binning 1 --device cpu",
    "synthesise IN/set.h5 -o IN/pairs --scan IN/sim/scan.yaml --pairs 3 --samples D18 "
    "--validation-percent 34",
)
#: Every command that writes.
COMMANDS = {
    "routine": "routine IN/frames.tif -o OUT/mask.tif --median-window 3",
    "denoise": "denoise IN/frames.tif -o OUT/clean.tif --write-mask OUT/mask.tif "
    "--table OUT/spots.csv --median-window 3 --binning 1 --device cpu",
    "track": "track IN/sim/scan.yaml --denoised IN/clean.tif -o OUT/t.tif --write-mask OUT/m.tif "
    "--table OUT/s.csv",
    "simulate": f"simulate -o OUT/scan --diameter-um=80 --height-um=80 --mean-grain-um=40 "
    f"--frames=2 --start-deg=10 --step-deg=25 {_SMALL}",
    "predict": "predict IN/sim/scan.yaml --grain-map IN/sim/grains.h5 -o OUT/spots.csv",
    "spots": "spots IN/frames.tif --mask IN/mask.tif -o OUT/s.csv -o OUT/s.h5 -o OUT/s.json "
    "-o OUT/s.parquet --write-mask OUT/b.tif --labels OUT/l.tif --pairs OUT/pairs "
    "--review IN/one.review.jsonl --median-window 3",
    "background": "background IN/five.tif -o OUT/set.h5 --frames OUT/background.tif",
    "synthesise": "synthesise IN/set.h5 -o OUT/set --scan IN/sim/scan.yaml --pairs 3 "
    "--samples D18 --validation-percent 34",
    "compare": "compare IN/mask.tif IN/other.tif --scan IN/frames.tif -o OUT/report "
    "--median-window 3",
    "evaluate": "evaluate IN/other.tif --scan IN/frames.tif --truth IN/mask.tif -o OUT/quality",
    "grains": "grains IN/grains/scan.yaml --spots IN/grains/truth.tif -o OUT/grains.h5 "
    "--sample cylinder --diameter-um 70 --height-um 90 --voxel-um 6 --effort quick --threads 1",
    "run": "run IN/recipe.yaml IN/frames.tif -o OUT/one",
    "batch": "batch run IN/recipe.yaml IN/frames.tif -o OUT/many --logs IN/logs",
    "refine": "refine IN/few/scan.yaml --spots IN/few/truth.tif --grains IN/few/grains.h5 "
    "-o OUT/refined",
    "train": "train OUT/run --iterations 2 --batch 2 --crop-px 64 --validation-crops 1 "
    "--validate-every 1 --checkpoint-every 1 --report-every 1 --device cpu --workers 0",
    "finetune": "finetune IN/pairs --model compact -o OUT/mine.safetensors --iterations 1 "
    "--batch 2 --crop-px 64 --validation-crops 1 --device cpu",
    "onnx": "models --export-onnx compact OUT/compact.onnx",
}


def placed(text: str, given: Path, out: Path) -> list[str]:
    """The words of a command that reads and writes in these folders."""
    return [w.replace("IN/", f"{given}/").replace("OUT/", f"{out}/") for w in text.split()]
