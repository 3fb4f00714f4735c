"""The full benchmark of models: fixed simulated scans beside tuned peers, and real iron frames.

    python benchmarks/quality.py compact -o FOLDER
    python benchmarks/quality.py compact --iron FOLDER --truth TRUTH.npz -o FOLDER

Without ``--iron`` it is ``labdct evaluate MODEL --peers --changes --pictures``.  With it, models
and peers are scored against blindly indexed grains (see score_iron.py).  Peers are tuned by that
very truth on every third frame and everything is scored on the others; models stand as they are.
The iron frames only judge: nothing is trained on them and no model's threshold is fitted to them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import score_iron

from napari_labdct import RollingMedian, Scan, cli
from napari_labdct.evaluation.baselines import PEERS, Projection, search
from napari_labdct.evaluation.benchmark import Method, network, peer_method
from napari_labdct.io import open_scan
from napari_labdct.networks.evidence import spot_area
from napari_labdct.networks.spot_width import scan_spot_width

MEASURES = ("F1", "precision", "recall4", "recall10", "unexplained", "zinger", "merged")


def iron(given: argparse.Namespace) -> None:
    scan, truth = open_scan(given.iron), score_iron.Truth(given.truth)
    tuning = list(range(0, scan.n_frames, 3))
    test = [i for i in range(scan.n_frames) if i not in tuning]
    frames = projections(scan)
    methods = [network(name, looks=n) for name in given.models for n in given.looks]
    for name in given.peers:
        methods.append(tuned(name, frames, tuning, truth, given.trials))
    rows = {}
    print(f"{'':16}" + "".join(f"{m:>12}" for m in MEASURES))
    for method in methods:
        values = judged(method, frames, test, truth)
        rows[method.name] = {m: float(values[m]) for m in MEASURES} | {"about": method.about}
        print(f"{method.name:16}" + "".join(f"{values[m]:12.3f}" for m in MEASURES), flush=True)
    if given.output:
        given.output.mkdir(parents=True, exist_ok=True)
        (given.output / "iron.json").write_text(json.dumps(rows, indent=1))


def projections(scan: Scan) -> list[Projection]:
    median, stop = RollingMedian(scan, 31), scan.beam_stop_mask()
    width, area = scan_spot_width(scan), spot_area(scan)
    return [
        Projection(scan.frame(i), median.at(i), stop, width, area) for i in range(scan.n_frames)
    ]


def judged(method: Method, frames: list[Projection], which: list[int], truth) -> dict:
    masks = {i: method.segment(frames[i]) > 0 for i in which}
    return score_iron.score(masks.__getitem__, which, truth)


def tuned(name: str, frames: list[Projection], tuning: list[int], truth, trials: int) -> Method:
    peer = PEERS[name]

    def worth(settings) -> float:
        return judged(peer_method(peer, settings.to_dict()), frames, tuning, truth)["F1"]

    noise = float(sorted(frames[i].noise.mean() for i in tuning)[len(tuning) // 2])
    settings, _ = search(peer, worth, noise, trials)
    return peer_method(peer, settings.to_dict())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=["compact"])
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--iron", type=Path, help="folder of the 31 iron projections")
    parser.add_argument("--truth", type=Path, help="their truth (.npz)")
    parser.add_argument("--peers", nargs="*", default=["routine", "routine+", "cc", "matched"])
    parser.add_argument("--looks", type=int, nargs="+", default=[1], help="copies averaged over")
    parser.add_argument("--trials", type=int, default=60)
    given = parser.parse_args()
    if given.iron:
        iron(given)
        return
    more = ["-o", str(given.output), "--pictures"] if given.output else []
    raise SystemExit(
        cli.main(["evaluate", *given.models, "--changes", "--trials", str(given.trials), *more,
                  "--augmentations", *map(str, given.looks), "--peers"])
    )  # fmt: skip


if __name__ == "__main__":
    main()
