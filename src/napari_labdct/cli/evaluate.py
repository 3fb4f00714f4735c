"""``labdct evaluate MODEL``: score models or masks against simulated test scans or a truth."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .._version import __version__
from ..core.errors import SettingsError
from ..core.jobs import Progress
from ..core.outputs import ResultFolder
from ..core.parameters import add_earlier_flag
from ..evaluation.baselines import PEERS
from .common import EITHER, MASK, add_scan_option, check_stack, show_progress, warn_implausible

#: What is written into the folder of ``--output``.
FILES = ("quality.json", "quality.csv", "snr.csv", "verdicts_*.png")


def add_command(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Score models on fixed simulated test scans (made once, then kept), beside "
        "classical peers tuned on scans of their own; or score models and mask stacks on a SCAN "
        "with a TRUTH."
    )
    parser.add_argument(
        "what", nargs="+", metavar="MODEL", help="model name or file; with --scan also masks (TIFF)"
    )
    add_scan_option(parser, "input: projections with a truth")
    parser.add_argument(
        "--truth", metavar="TRUTH", help="input: their true spots, labels or a mask"
    )
    parser.add_argument(
        "--blank",
        metavar="FOLDER",
        help="input: real projections without spots; score on simulated spots over their noise",
    )
    parser.add_argument(
        "--grain-map", metavar="FILE", help="input: with --blank, also the sample of this grain map"
    )
    parser.add_argument(
        "--half-turn",
        action="store_true",
        help="with --scan, a full turn: how many spots of masks come back half a turn later",
    )
    parser.add_argument("-o", "--output", metavar="FOLDER", help="output: JSON, CSV and pictures")
    parser.add_argument("--overwrite", action="store_true", help="replace another result")
    parser.add_argument("--quick", action="store_true", help="four scans only")
    parser.add_argument(
        "--peers", nargs="*", choices=tuple(PEERS), metavar="PEER",
        help=f"tune and score peers too: all, or some of {', '.join(PEERS)}",
    )  # fmt: skip
    parser.add_argument("--trials", type=int, default=60, help="settings tried for a peer")
    parser.add_argument("--changes", action="store_true", help="also gain, offset, 8 bit, median")
    parser.add_argument("--pictures", action="store_true", help="best, typical, worst projections")
    parser.add_argument(
        "--augmentations", type=int, nargs="+", default=[1], choices=range(1, 9), metavar="N",
        help="flips and rotations a model averages over, 1 to 8; several are scored side by side",
    )  # fmt: skip
    add_earlier_flag(
        parser, "--looks", "--augmentations", type=int, nargs="+", choices=range(1, 9), metavar="N"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda:0, mps")
    parser.add_argument("--cache", metavar="FOLDER", help="where test scans and peers are kept")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    if given.half_turn:
        _half_turn(given)
        return
    if bool(given.scan) != bool(given.truth):
        raise SettingsError("A scan is judged by its truth: give --scan and --truth together.")
    if given.pictures and not given.output:
        raise SettingsError("Pictures need a folder: give --output.")
    if given.trials < 1:
        raise SettingsError("A peer needs at least one trial; give --trials 1 or more.")
    from ..core.folders import cache_folder
    from ..evaluation import benchmark as quality

    if given.scan:
        _with_truth(given)
        return
    folder = Path(given.cache) if given.cache else cache_folder() / "evaluation"
    methods = [
        quality.network(name, given.device, looks=n)
        for name in given.what
        for n in given.augmentations
    ]
    blank = None
    if given.blank:
        from ..evaluation.blank_scans import BlankFrames, blank_recipes

        blank = BlankFrames.open(given.blank)
        recipes = blank_recipes(blank, given.grain_map)
    else:
        recipes = quality.quick_recipes() if given.quick else quality.judging_recipes()
    output = _claimed(
        given, {"id": [r.key for r in recipes]}, [m.about for m in methods],
        blank, given.grain_map,
    )  # fmt: skip
    with output.held() if output else contextlib.nullcontext():
        _on_test_scans(given, methods, recipes, blank, folder, output)


def _on_test_scans(given: argparse.Namespace, methods, recipes, blank, folder: Path, output):
    from ..evaluation import benchmark as quality

    peers: dict[str, list[quality.Method]] = {}
    if given.peers is not None:
        names = given.peers or tuple(PEERS)
        steps = quality.tuned_peers(recipes, folder, names, given.trials)
        peers = _last(steps, "tune peers")

    def chosen(recipe) -> list[quality.Method]:
        return [*methods, *peers.get(recipe.key, [])]

    results = _last(quality.evaluate(chosen, recipes, folder), "evaluate")
    if given.changes:
        results = _last(quality.invariance(methods, folder, results), "changed inputs")
    print(results.table())

    def pictures() -> Iterator[Path]:
        from ..evaluation.gallery import write_pictures

        few = len(methods) + 2  # the routine and its helped form beside the models
        shown = [r for r in recipes if r.exposure == 1.0]
        for group in dict.fromkeys(r.group for r in shown):
            yield write_pictures(lambda r: chosen(r)[:few], group, shown, folder, output.path)

    _write(results, output, pictures() if given.pictures else ())
    if blank is not None:
        print(results.scan_table())
        _print_false(methods, blank, recipes, peers, folder)


def _claimed(
    given: argparse.Namespace, data: dict[str, Any], about: list[dict[str, Any]], *read: Any
) -> ResultFolder | None:
    """The folder of ``--output``, before the work begins."""
    if not given.output:
        return None
    names = ("quick", "peers", "trials", "changes", "pictures", "augmentations")
    made = {
        "job": "evaluate",
        "settings": {name: getattr(given, name) for name in names},
        "input": data,
        "methods": about,
        "napari_labdct": __version__,
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    return ResultFolder(given.output, made, FILES, inputs=read, overwrite=given.overwrite)


def _print_false(methods, blank, recipes, peers, folder: Path) -> None:
    """False spots on the blank frames, and over crowding in the most usual of the scans."""
    from ..evaluation.crowding import crowding, false_on_blank

    crowded = next((r for r in recipes if r.name == "Al 35"), recipes[0])
    methods = [*methods, *peers.get(crowded.key, [])]
    print("false spots a blank frame")
    for name, counts in _last(false_on_blank(methods, blank), "blank").items():
        print(f"  {name:14}" + "".join(f"  {what} {n:.2f}" for what, n in counts.items()))
    print(f"false on nothing a frame, {crowded.name}")
    for row in _last(crowding(methods, crowded, folder), "crowding"):
        print(
            f"  {row['method']:14}  {row['share']:4.0%} of the spots"
            f" ({row['true_spots']:.0f})  {row['false_on_nothing']:.2f}"
        )


def _half_turn(given: argparse.Namespace) -> None:
    """How many spots of each mask come back half a turn later."""
    import numpy as np
    from tqdm import tqdm

    from ..evaluation.comparison import open_segmentation
    from ..evaluation.half_turn import partners
    from ..io import open_scan
    from ..spots.measurement import measure_stack

    if not given.scan:
        raise SettingsError("Give the projections of the masks with --scan.")
    scan = open_scan(given.scan)
    for name in given.what:
        masks = open_segmentation(name)
        masks.check(scan)
        tables = list(tqdm(measure_stack(scan, masks.masks), masks.name, scan.n_frames))
        places = [np.column_stack([t["row"], t["col"]]) for t in tables]
        print(masks.name)
        for low, high in ((0, 4.5), (4.5, 10), (10, np.inf)):
            which = [(t["significance"] >= low) & (t["significance"] < high) for t in tables]
            told = partners(scan, places, which)
            print(
                f"  significance {low:g} to {high:g}: {told.looked} spots, "
                f"{told.found:.1%} come back, {told.chance:.1%} by chance"
            )


def _write(results, output: ResultFolder | None, more: Iterable[Path] = ()) -> None:
    if output is not None:
        with output.written():
            for path in (*results.write(output.path), *more):
                print(path)


def _with_truth(given: argparse.Namespace) -> None:
    """Models and mask stacks on a scan of the user's with its truth."""
    from ..evaluation import benchmark as quality
    from ..evaluation.comparison import open_segmentation
    from ..io import open_scan

    scan, truth = warn_implausible(open_scan(given.scan)), open_segmentation(given.truth)
    check_stack(given.truth, truth.masks, scan, MASK)
    methods = []
    for name in given.what:
        path = Path(name)
        if path.is_dir() or path.suffix.lower() in (".tif", ".tiff"):
            found = open_segmentation(path)
            check_stack(name, found.masks, scan, EITHER, coarse=True)
            methods.append(found)
        else:
            methods += [quality.network(name, given.device, looks=n) for n in given.augmentations]
    about = [getattr(m, "about", None) or {"masks": m.name, "recipe": m.recipe} for m in methods]
    masks = [getattr(m, "masks", None) for m in methods]
    output = _claimed(given, {"id": scan.identity()}, about, scan, truth.masks, *masks)
    with output.held() if output else contextlib.nullcontext():
        results = _last(quality.evaluate_scan(methods, scan, truth), "evaluate")
        print(results.table())
        _write(results, output)


def _last(steps: Iterator, what: str):
    """Run a job under a progress bar and return what it ends with."""
    result: list = []

    def progress():
        for step in steps:
            if isinstance(step, Progress):
                yield step
            else:
                result.append(step)

    show_progress(progress(), what, "step")
    return result[-1]
