"""How good a segmentation is: any of them, on the fixed test scans or on a stack with a truth.

`evaluate` runs methods over scans and gives one `Tally` for each of both.  Networks stand as
they are, at their own threshold; classical peers are tuned for each scan on
another one of its kind with a known truth, which helps them more than a user could.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..background.drift import source_drift
from ..background.rolling_median import RollingMedian
from ..core.errors import ScanError
from ..core.files import make_folder, write_atomically
from ..core.jobs import Progress
from ..networks.evidence import Evidence, least_significance, smallest_spot, spot_area
from ..networks.spot_width import scan_spot_width, spot_width, suitable_binning
from ..scan.scan import Scan
from ..spots.binarisation import SpotSettings, binarise
from ..spots.stacks import fit
from .baselines import PEERS, Peer, Projection, tune
from .comparison import Segmentation, label_snr
from .metrics import Tally, Truth, judge
from .phantoms import (
    MadeScan,
    ScanRecipe,
    cached_scan,
    judging_recipes,
    tuning_twin,
    window_recipes,
)

TRIALS = 60
# Raised when scores of equal masks change, so that nothing old comes from the cache.
_VERSION = 1
#: What the search for a peer's settings looks at: a window of each of six projections, whose
#: brightness drifts; where it lies, as parts of the way from the first to the last place.
_PLACES = ((0, 0.1), (0.1, 1), (0.4, 0.9), (1, 0), (0.6, 0.1), (0.9, 0.6))
_WINDOW_PX = 240


@dataclass(frozen=True, eq=False)
class Method:
    """A way of finding spots.

    Parameters
    ----------
    name : str
    segment : callable (Projection) -> array (rows, cols)
        Mask or label image.
    about : dict
        What decides its result, as plain values.
    kept : bool
        Whether its scores are worth keeping in the cache.
    """

    name: str
    segment: Callable[[Projection], np.ndarray]
    about: dict[str, Any] = field(default_factory=dict)
    kept: bool = False


def network(
    name_or_path: str | Path,
    device: str = "auto",
    threshold: int | None = None,
    looks: int = 1,
    min_significance: float | None = None,
    smallest_px: int | None = None,
) -> Method:
    """A trained model as `networks.denoising` uses it, at its own threshold unless one is given.

    The other settings are those of `networks.denoising.DenoiseSettings`.

    Raises
    ------
    ModelError
        There is no such model.
    """
    from ..networks.model import Model

    model = Model.load(name_or_path, device)
    cut = SpotSettings(threshold=threshold or model.threshold)

    def segment(projection: Projection) -> np.ndarray:
        binning = suitable_binning(projection.spot_width_px)
        frame, median = projection.frame, projection.median
        output = np.round(255 * model(frame, median, binning, looks)).astype(np.uint8)
        smallest = smallest_px or smallest_spot(projection.spot_area_px)
        least = min_significance
        if least is None:
            least = least_significance(projection.spot_area_px)
        evidence = Evidence(least, smallest, cut.threshold, model.block_px)
        return binarise(evidence.weigh(output, frame, median, binning), cut)

    about = {"model": model.name, "sha256": model.sha256, "looks": looks, **cut.to_dict(),
             "min_significance": min_significance, "smallest_px": smallest_px}  # fmt: skip
    name = model.name if looks == 1 else f"{model.name} x{looks}"
    return Method(name, segment, about)


def peer_method(peer: Peer, settings: dict[str, Any]) -> Method:
    """A peer with the settings found for it."""
    made = peer.settings.from_dict(settings)
    about = {"peer": peer.name, "settings": settings}
    return Method(peer.name, lambda p: peer.segment(p, made), about, kept=True)


def projections_of(scan: MadeScan) -> Iterator[tuple[Projection, Truth]]:
    """The scored projections of a test scan."""
    width, area = spot_width(scan.frames), spot_area(scan.frames)
    for k, frame in enumerate(scan.frames):
        table = scan.truth[k]
        truth = Truth(scan.labels[k], table["snr"], table["area_px"], scan.nuisance[k])
        yield Projection(frame, scan.median(k), scan.beam_stop, width, area), truth


def projections_with_truth(
    scan: Scan, truth: Segmentation, median_window: int = 31
) -> Iterator[tuple[int, Projection, Truth]]:
    """The projections of any scan with a truth stack (labels, or masks).

    The SNR of true spots is measured on the projections themselves.

    Raises
    ------
    ScanError
        The truth is of another scan, or the scan has too few projections.
    """
    truth.check(scan)
    if scan.n_frames < 3:
        raise ScanError(
            f"'{scan.name}' has {scan.n_frames} projections; an evaluation needs a rolling "
            "median, that is 3 or more."
        )
    from ..spots.matching import spot_labels

    median = RollingMedian(scan, median_window)
    stop, width, typical = scan.hidden(), scan_spot_width(scan), spot_area(scan)
    for index in range(scan.n_frames):
        projection = Projection(scan.frame(index), median.at(index), stop, width, typical)
        labels, count = spot_labels(fit(np.asarray(truth.masks[index]), scan.shape))
        ground = projection.median * source_drift(projection.frame, projection.median)
        snr = label_snr(labels, projection.frame, ground, projection.noise)
        area = np.bincount(labels.ravel(), minlength=count + 1)[1:]
        yield index, projection, Truth(labels.astype(np.int32), snr, area)


def score(method: Method, pairs: Iterable[tuple[Projection, Truth]]) -> Tally:
    """One method over some projections."""
    tally = Tally()
    for projection, truth in pairs:
        snr_map = projection.in_noise()
        tally.add(judge(method.segment(projection), truth, snr_map))
    return tally


@dataclass(eq=False)
class Results:
    """Tallies by scan and method.

    Parameters
    ----------
    tallies : dict of (scan key, method name) to Tally
        The key is (group, scan, exposure).
    about : dict of str to dict
        What each method was, by name; peers by scan too.
    changed : dict of (method name, scan, change) to Tally
        See `changed_inputs`.
    """

    tallies: dict[tuple[tuple[str, str, float], str], Tally] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)
    changed: dict[tuple[str, str, str], Tally] = field(default_factory=dict)

    @property
    def methods(self) -> list[str]:
        return list(dict.fromkeys(method for _, method in self.tallies))

    def total(self, method: str, group: str | None = None, exposure: float | None = None) -> Tally:
        """A method over all scans, or those of a group or an exposure."""
        parts = [
            tally
            for ((g, _, e), name), tally in self.tallies.items()
            if name == method and group in (None, g) and exposure in (None, e)
        ]
        return sum(parts, Tally())

    def rows(self) -> list[dict[str, Any]]:
        """One row a scan and method."""
        return [
            {"group": g, "scan": scan, "exposure": e, "method": method, **tally.numbers()}
            for ((g, scan, e), method), tally in self.tallies.items()
        ]

    def table(self, columns: Sequence[str] = ()) -> str:
        """The totals of every group at every exposure as text."""
        columns = columns or (
            "f1", "precision", "recall", "pixel_iou", "merged", "split", "centroid_error_px",
        )  # fmt: skip
        short = {"centroid_error_px": "centroid px", "pixel_iou": "pixel IoU", "f1": "F1"}
        lines = []
        for group, exposure in dict.fromkeys((g, e) for (g, _, e), _ in self.tallies):
            head = "".join(f"{short.get(c, c):>12}" for c in columns)
            place = group if exposure == 1 else f"{group} x {exposure:g}"
            lines.append(f"{place:16}{head}")
            for method in self.methods:
                numbers = self.total(method, group, exposure).numbers()
                if numbers["frames"]:
                    line = "".join(f"{numbers[c]:12.3f}" for c in columns)
                    lines.append(f"  {method:14}{line}")
            lines.append("")
        for (method, scan, change), tally in self.changed.items():
            lines.append(f"{method}, {scan}: {change:18} F1 {tally.score.f1:.4f}")
        return "\n".join(lines)

    def scan_table(self) -> str:
        """F1 of every scan and method, and in brackets the error over that of the best peer."""
        lines = [f"{'F1 (error over best peer)':30}" + "".join(f"{m:>18}" for m in self.methods)]
        for key in dict.fromkeys(key for key, _ in self.tallies):
            f1 = {m: self.tallies[key, m].score.f1 for m in self.methods}
            peers = [v for m, v in f1.items() if m in PEERS]
            line = f"{key[0]}, {key[1]}".ljust(30)
            for value in f1.values():
                part = f" ({(1 - value) / (1 - max(peers)):.2f})" if peers else ""
                line += f"{value:.3f}{part}".rjust(18)
            lines.append(line)
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        groups = dict.fromkeys(g for (g, _, _), _ in self.tallies)
        bins = ("snr_from", "snr_to", "truth", "found", "recall", "precision", "f1")

        def total(tally: Tally) -> dict[str, Any]:
            return tally.numbers() | {"by_snr": [
                {name: float(row[name]) for name in bins} for row in tally.bins
            ]}  # fmt: skip

        return {
            "methods": self.about,
            "groups": {g: {m: total(self.total(m, g)) for m in self.methods} for g in groups},
            "scans": self.rows(),
            "changed inputs": [
                {"method": method, "scan": scan, "change": change, **tally.numbers()}
                for (method, scan, change), tally in self.changed.items()
            ],
        }

    def write(self, folder: str | Path) -> list[Path]:
        """Write ``quality.json``, ``quality.csv`` (a row a scan) and ``snr.csv``.

        Raises
        ------
        OutputError
            The folder cannot be written.
        """
        folder = Path(folder)
        values = self.to_dict()
        by_snr = [
            {"group": g, "method": m, **row}
            for g, methods in values["groups"].items()
            for m, numbers in methods.items()
            for row in numbers["by_snr"]
        ]
        paths = [folder / name for name in ("quality.json", "quality.csv", "snr.csv")]
        make_folder(folder)
        write_atomically(paths[0], _json(values))
        write_atomically(paths[1], _csv(self.rows()))
        write_atomically(paths[2], _csv(by_snr))
        return paths


def evaluate(
    methods: Callable[[ScanRecipe], Sequence[Method]] | Sequence[Method],
    recipes: Sequence[ScanRecipe],
    folder: str | Path,
    results: Results | None = None,
) -> Iterator[Progress | Results]:
    """Score methods on test scans.

    Parameters
    ----------
    methods : sequence of Method, or callable (ScanRecipe) -> sequence of Method
        Peers are tuned for each kind of scan, so they may differ from scan to scan.
    recipes : sequence of ScanRecipe
    folder : path
        Keeps the scans and the peers' scores for the next time.
    results : Results, optional
        To be added to.

    Yields
    ------
    Progress, and at the end the `Results`
    """
    results = results or Results()
    for done, recipe in enumerate(recipes):
        yield Progress(done, len(recipes), f"{recipe.group}, {recipe.name}, {recipe.exposure:g}")
        chosen = methods(recipe) if callable(methods) else methods
        key = (recipe.group, recipe.name, recipe.exposure)
        pairs: list[tuple[Projection, Truth]] = []
        for method in chosen:
            path = _kept_path(folder, [recipe.key, method.about])
            tally = _read(path) if method.kept else None
            if tally is None:
                pairs = pairs or list(projections_of(cached_scan(recipe, folder)))
                tally = score(method, pairs)
                if method.kept:
                    write_atomically(path, _json(tally.to_dict()))
            results.tallies[key, method.name] = tally
            place = f"{recipe.name}, exposure {recipe.exposure:g}"
            if method.kept:
                results.about.setdefault(method.name, {})[place] = method.about
            else:
                results.about[method.name] = method.about
    yield Progress(len(recipes), len(recipes))
    yield results


def tuned_peers(
    recipes: Sequence[ScanRecipe],
    folder: str | Path,
    names: Sequence[str] = tuple(PEERS),
    trials: int = TRIALS,
) -> Iterator[Progress | dict[str, list[Method]]]:
    """Peers tuned for every scan, on a scan of the same kind with another seed.

    Yields
    ------
    Progress, and at the end a dict of `ScanRecipe.key` to the tuned peers
    """
    found: dict[str, list[Method]] = {}
    total = len(recipes) * len(names)
    for recipe in recipes:
        twin = tuning_twin(recipe)
        seen: tuple[list[Projection], list[Truth]] | None = None
        found[recipe.key] = []
        for name in names:
            done = sum(len(methods) for methods in found.values())
            yield Progress(done, total, f"tune {name}: {recipe.name}, {recipe.exposure:g}")
            path = _kept_path(folder, [trials, name, _WINDOW_PX, _PLACES, twin.key])
            if not path.exists():
                seen = seen or tuning_windows(twin, folder)
                settings, worth = tune(PEERS[name], *seen, trials)
                made = {"settings": settings.to_dict(), "worth": worth, "trials": trials}
                write_atomically(path, _json(made))
            settings = json.loads(path.read_text(encoding="utf-8"))["settings"]
            found[recipe.key].append(peer_method(PEERS[name], settings))
    yield Progress(total, total)
    yield found


def tuning_windows(recipe: ScanRecipe, folder: str | Path) -> tuple[list[Projection], list[Truth]]:
    """One window of each scored projection of a tuning scan, and its truth."""
    projections, truths = [], []
    for (projection, truth), place in zip(projections_of(cached_scan(recipe, folder)), _PLACES):
        first = [int(p * (n - _WINDOW_PX)) for p, n in zip(place, projection.frame.shape)]
        part = tuple(slice(n, n + _WINDOW_PX) for n in first)
        projections.append(projection.crop(part))
        truths.append(truth.crop(part))
    return projections, truths


def evaluate_scan(
    methods: Sequence[Method | Segmentation], scan: Scan, truth: Segmentation
) -> Iterator[Progress | Results]:
    """Score models and masks on a scan with a truth.

    Yields
    ------
    Progress, and at the end the `Results`
    """
    for method in methods:
        if isinstance(method, Segmentation):
            method.check(scan)
    tallies = [Tally() for _ in methods]
    yield Progress(0, scan.n_frames)
    for index, projection, true in projections_with_truth(scan, truth):
        snr_map = projection.in_noise()
        for method, tally in zip(methods, tallies):
            if isinstance(method, Segmentation):
                mask = fit(np.asarray(method.masks[index]), scan.shape)  # labels stay apart
            else:
                mask = method.segment(projection)
            tally.add(judge(mask, true, snr_map))
        yield Progress(index + 1, scan.n_frames)
    key = ("scan", scan.name, 1.0)
    yield Results({(key, m.name): tally for m, tally in zip(methods, tallies)})


def invariance(
    methods: Sequence[Method], folder: str | Path, results: Results
) -> Iterator[Progress | Results]:
    """Score `changed_inputs` of a near-field and a far-field scan into `results`.

    Yields
    ------
    Progress, and at the end the `Results`
    """
    recipes = window_recipes()
    for done, recipe in enumerate(recipes):
        yield Progress(done, len(recipes))
        scan = cached_scan(recipe, folder)
        for method in methods:
            for change, tally in changed_inputs(method, scan).items():
                results.changed[method.name, recipe.name, change] = tally
    yield Progress(len(recipes), len(recipes))
    yield results


def changed_inputs(method: Method, scan: MadeScan) -> dict[str, Tally]:
    """One method under inputs that show the same: other gain, offset, depth, median window.

    Parameters
    ----------
    method : Method
    scan : MadeScan
        All its median windows are tried.

    Returns
    -------
    dict of str to Tally
        ``unchanged`` first.
    """
    changes: dict[str, Callable[[np.ndarray], np.ndarray]] = {"unchanged": lambda x: x}
    for gain in (0.25, 4.0, 20.0):
        changes[f"gain x {gain:g}"] = lambda x, g=gain: np.clip(np.rint(x * g), 0, 65535)
    changes["offset + 1000"] = lambda x: np.minimum(x + 1000.0, 65535)
    top = float(np.percentile(scan.frames, 99.9))
    changes["8 bit"] = lambda x: np.clip(np.rint(x * (255 / top)), 0, 255)
    out = {}
    pairs = list(projections_of(scan))
    for name, change in changes.items():
        kind = np.uint8 if name == "8 bit" else np.uint16
        # the median of a rising function of the counts is that function of the median
        width = spot_width([change(frame).astype(kind) for frame in scan.frames])
        new = (
            Projection(change(p.frame).astype(kind), change(p.median).astype(np.float32),
                       p.beam_stop, width, p.spot_area_px)
            for p, _ in pairs
        )  # fmt: skip
        out[name] = score(method, zip(new, (t for _, t in pairs), strict=True))
    for window in sorted(set(scan.medians) - {scan.recipe.frames}, reverse=True):
        new = (
            Projection(
                p.frame, scan.median(k, window), p.beam_stop, p.spot_width_px, p.spot_area_px
            )
            for k, (p, _) in enumerate(pairs)
        )
        out[f"median of {window}"] = score(method, zip(new, (t for _, t in pairs), strict=True))
    return out


def quick_recipes() -> tuple[ScanRecipe, ...]:
    """Four of the test scans at full exposure: enough to compare checkpoints."""
    wanted = ("medium", "deformed", "iron", "crowded")
    return tuple(r for r in judging_recipes((1.0,)) if r.name in wanted)


def _kept_path(folder: str | Path, what: Any) -> Path:
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps([_VERSION, what], sort_keys=True)
    return folder / f"score-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"


def _read(path: Path) -> Tally | None:
    if not path.exists():
        return None
    return Tally.from_dict(json.loads(path.read_text(encoding="utf-8")))


def _json(values: Any) -> str:
    """JSON with null where a ratio has no value."""
    return json.dumps(_plain(values), indent=1) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})
    return text.getvalue()
