#!/usr/bin/env python3
# ruff: noqa
"""Score a binary spot segmentation of the real iron frames  against physics (an .npz of predicted spots).

  python score_iron.py SEG [--frames 0:31 | 1,3,5 | odd | even] [--flip] [--truth FILE] [--json out.json] [--tol 3]

SEG: .npy or .tif, non-zero = spot, shape (31,1024,1024), or only the frames named by --frames (0-based, same order), in the raw
row order of the TIFF files (row 0 = first stored row; the files say BOTLEFT, so pass --flip if the stack was read
with the rows turned upside down).  Needs numpy, scipy, scikit-image.

The truth: 115 grains of the sample were indexed blindly from all 121 frames of the scan (chance level checked: none); every reflection
they predict is a target, whether or not anybody can see it.

A target is one predicted spot of an indexed grain (predictions closer than 3 px are one target).  z_exp is its
expected matched-filter peak height in noise sigmas, from the grain's own scale and a common intensity table, so
the bins do not depend on the noise of the very pixel that is judged.
found   : a component's centroid lies within --tol px of the target, one component for one target
chance  : the same for targets displaced by (11,-9) px, what a random component layout would give
explained component : matched, or it covers (within 1 px) some predicted spot with z_exp>=1
unexplained are split into: zinger (covers a cosmic-ray pixel), split (touches the 4 px surround of a target that
another component already matched), ambiguous (a real-looking peak that no indexed grain predicts), other
precision = explained / (explained + zinger + split + other)
"""

import argparse, json, sys, os
import numpy as np
from scipy import ndimage as ndi
from scipy.spatial import cKDTree

BINS = [(1, 2), (2, 3), (3, 4), (4, 6), (6, 10), (10, 20), (20, 50), (50, 1e9)]


def load(p):
    if p.endswith(".npy"):
        return np.load(p, mmap_mode="r")
    from skimage import io

    return io.imread(p)


def frames_of(s, n):
    if s is None:
        return list(range(n))
    if s == "odd":
        return list(range(1, 31, 2))
    if s == "even":
        return list(range(0, 31, 2))
    if ":" in s:
        return list(range(*[int(x) if x else None for x in s.split(":")]))
    return [int(x) for x in s.split(",")]


class Truth:
    def __init__(s, path):
        t = np.load(path)
        s.t = {k: t[k] for k in t.files}
        t = s.t
        s.byf = [np.where(t["frame"] == f)[0] for f in range(31)]
        s.ambf = [t["amb"][t["amb"][:, 0] == f] for f in range(31)]
        z = t["zinger"]
        s.zf = [z[z[:, 0] == f] for f in range(31)]
        h2 = (t["hkl"].astype(int) ** 2).sum(1)
        E = t["energy"]
        s.strong = (
            ((h2 == 2) & (E > 20) & (E < 105))
            | ((h2 == 4) & (E > 30) & (E < 95))
            | ((h2 == 6) & (E > 38) & (E < 90))
        )


def pairs(a, b, tol):
    """greedy one-to-one matching, nearest first; returns index arrays into a and b and distances"""
    if len(a) == 0 or len(b) == 0:
        return np.zeros(0, int), np.zeros(0, int), np.zeros(0)
    t = cKDTree(b)
    nb = t.query_ball_point(a, tol)
    I = np.repeat(np.arange(len(a)), [len(x) for x in nb])
    if len(I) == 0:
        return np.zeros(0, int), np.zeros(0, int), np.zeros(0)
    J = np.concatenate([np.asarray(x, int) for x in nb if len(x)])
    d = np.hypot(*(a[I] - b[J]).T)
    o = np.argsort(d)
    ua = np.zeros(len(a), bool)
    ub = np.zeros(len(b), bool)
    out = []
    for k in o:
        if not ua[I[k]] and not ub[J[k]]:
            ua[I[k]] = ub[J[k]] = True
            out.append(k)
    out = np.array(out, int)
    return I[out], J[out], d[out]


def score(get, frames, T, tol=3.0, weight=None):
    t = T.t
    m = t["mask"]
    acc = dict(
        comps=0, explained=0, zinger=0, split=0, ambiguous=0, other=0, masked=0, merged=0, pixels=0
    )
    found = np.zeros(len(t["frame"]), bool)
    touched = found.copy()
    chance = found.copy()
    near = found.copy()
    res = []
    areas = []
    for f in frames:
        b = np.asarray(get(f)) != 0
        acc["pixels"] += int(b.sum())
        lab, n = ndi.label(b, np.ones((3, 3)))
        k = T.byf[f]
        P = np.c_[t["row"][k], t["col"][k]]
        ze = t["z_exp"][k]
        tg = t["target"][k]
        if n == 0:
            continue
        fl = np.flatnonzero(lab)
        L = lab.ravel()[fl]
        w = np.ones(len(fl)) if weight is None else np.maximum(weight(f).ravel()[fl], 1e-3)
        A = np.bincount(L, minlength=n + 1)[1:]
        W = np.bincount(L, w, n + 1)[1:]
        C = np.c_[
            np.bincount(L, w * (fl // 1024), n + 1)[1:] / W,
            np.bincount(L, w * (fl % 1024), n + 1)[1:] / W,
        ]
        ok = (
            (C[:, 0] > m[0])
            & (C[:, 0] < m[1])
            & (C[:, 1] > m[2])
            & (C[:, 1] < m[3])
            & ~((C[:, 0] > m[4]) & (C[:, 0] < m[5]) & (C[:, 1] > m[6]) & (C[:, 1] < m[7]))
        )
        acc["masked"] += int((~ok).sum())
        acc["comps"] += int(ok.sum())
        ids = np.where(ok)[0]
        Ck = C[ids]
        kt = np.where(tg & (ze >= 1))[0]
        ci, ti, d = pairs(Ck, P[kt], tol)
        found[k[kt[ti]]] = True
        s = (ze[kt[ti]] >= 10) & (t["isolation"][k[kt[ti]]] > 8)
        res.append(d[s])
        areas.append(A[ids[ci]][s])
        _, tj, _ = pairs(Ck, P[kt] + np.array([11.0, -9.0]), tol)
        chance[k[kt[tj]]] = True
        if len(Ck):
            near[k] = cKDTree(Ck).query(P)[0] < tol
        # touching: component labels in the 3x3 around each prediction
        R = np.rint(P).astype(int)
        lb = np.stack(
            [
                lab[np.clip(R[:, 0] + a, 0, 1023), np.clip(R[:, 1] + c, 0, 1023)]
                for a in (-1, 0, 1)
                for c in (-1, 0, 1)
            ],
            1,
        )
        touched[k] = (lb > 0).any(1)
        ex = np.zeros(n + 1, bool)
        ex[lb[ze >= 1].ravel()] = True
        ex[ids[ci] + 1] = True
        ex[0] = False
        # merges: distinct bright targets under one component
        bt = np.where(tg & (ze >= 4) & (t["isolation"][k] > 4))[0]
        lc = lab[R[bt, 0], R[bt, 1]]
        lc = lc[lc > 0]
        acc["merged"] += int((np.bincount(lc, minlength=n + 1) >= 2).sum())
        un = ids[~ex[ids + 1]]
        zg = T.zf[f]
        zl = np.zeros(n + 1, bool)
        zl[lab[zg[:, 1], zg[:, 2]]] = True
        zl[0] = False
        # split: component with a pixel within 4 px of an already matched target
        mt = P[kt[ti]]
        sp = np.zeros(n + 1, bool)
        if len(mt) and len(un):
            sel = np.isin(L, un + 1)
            q = np.c_[fl[sel] // 1024, fl[sel] % 1024]
            dd = cKDTree(mt).query(q)[0]
            sp[L[sel][dd <= 4]] = True
        am = np.zeros(len(un), bool)
        if len(T.ambf[f]) and len(un):
            am = cKDTree(T.ambf[f][:, 1:3]).query(C[un])[0] < tol
        iz = zl[un + 1]
        isp = sp[un + 1] & ~iz
        ia = am & ~iz & ~isp
        acc["explained"] += int(ex[ids + 1].sum())
        acc["zinger"] += int(iz.sum())
        acc["split"] += int(isp.sum())
        acc["ambiguous"] += int(ia.sum())
        acc["other"] += int((~iz & ~isp & ~ia).sum())
    fs = np.isin(t["frame"], frames)
    nf = len(frames)
    out = dict(frames=nf)
    out.update({k: v / nf for k, v in acc.items()})
    out["bins"] = []
    for lo, hi in BINS:
        s = fs & t["target"] & (t["z_exp"] >= lo) & (t["z_exp"] < hi)
        c = max(s.sum(), 1)
        out["bins"].append(
            dict(
                lo=lo,
                hi=hi,
                n=s.sum() / nf,
                found=found[s].sum() / c,
                touched=touched[s].sum() / c,
                chance=chance[s].sum() / c,
            )
        )
    s4 = fs & t["target"] & (t["z_exp"] >= 4)
    out["recall4"] = found[s4].mean()
    s10 = fs & t["target"] & (t["z_exp"] >= 10)
    out["recall10"] = found[s10].mean()
    s3 = fs & t["target"] & (t["z_exp"] >= 4) & (t["z_exp"] < 10)
    out["recall4_10"] = found[s3].mean()
    bad = acc["zinger"] + acc["split"] + acc["other"]
    out["unexplained"] = bad / nf
    out["precision"] = acc["explained"] / max(acc["explained"] + bad, 1)
    out["F1"] = 2 * out["precision"] * out["recall4"] / max(out["precision"] + out["recall4"], 1e-9)
    res = np.concatenate(res) if res else np.zeros(0)
    out["centroid_rms"] = float(np.sqrt((res**2).mean())) if len(res) else None
    g = np.where((t["completeness"] >= 0.10) & ~t["sub"])[0]
    st = fs & T.strong
    gc = np.array(
        [near[st & (t["grain"] == i)].mean() if (st & (t["grain"] == i)).any() else 0 for i in g]
    )
    out["grains"] = {str(c): int((gc >= c).sum()) for c in (0.2, 0.3, 0.5, 0.8, 0.9)}
    out["grains_total"] = len(g)
    out["mean_completeness"] = float(gc.mean())
    return out


def show(o):
    print(
        "components/frame %.1f  explained %.1f  unexplained %.1f (zinger %.1f, split %.1f, other %.1f)  ambiguous %.1f  outside usable area %.1f  merged %.1f"
        % tuple(
            o[k]
            for k in (
                "comps",
                "explained",
                "unexplained",
                "zinger",
                "split",
                "other",
                "ambiguous",
                "masked",
                "merged",
            )
        )
    )
    print("expected SNR   targets/frame  found   touched  chance")
    for b in o["bins"]:
        print(
            "  %4g - %-6s   %8.1f     %.3f   %.3f    %.3f"
            % (
                b["lo"],
                "inf" if b["hi"] > 1e8 else "%g" % b["hi"],
                b["n"],
                b["found"],
                b["touched"],
                b["chance"],
            )
        )
    print(
        "recall z_exp>=4: %.4f   (4-10: %.4f, >=10: %.4f)   precision proxy %.4f   F1 %.4f   centroid rms %s px"
        % (
            o["recall4"],
            o["recall4_10"],
            o["recall10"],
            o["precision"],
            o["F1"],
            "%.2f" % o["centroid_rms"] if o["centroid_rms"] is not None else "-",
        )
    )
    print(
        "grains (of %d) with completeness >= " % o["grains_total"]
        + ", ".join("%s: %d" % (k, v) for k, v in o["grains"].items())
        + "   mean completeness %.3f" % o["mean_completeness"]
    )


if __name__ == "__main__":
    ap = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ap.add_argument("seg")
    ap.add_argument("--frames")
    ap.add_argument("--flip", action="store_true")
    ap.add_argument(
        "--truth",
        default=os.path.join(
            os.path.dirname(os.path.abspath(__file__)), "..", "data", "iron_ff_truth.npz"
        ),
    )
    ap.add_argument("--json")
    ap.add_argument("--tol", type=float, default=3.0)
    a = ap.parse_args()
    S = load(a.seg)
    if S.ndim == 2:
        S = S[None]
    fr = frames_of(a.frames, len(S))
    full = len(S) == 31
    if not full and len(fr) != len(S):
        sys.exit("the stack has %d frames and --frames names %d" % (len(S), len(fr)))
    if S.shape[1:] != (1024, 1024):
        sys.exit("frames must be 1024 x 1024, not %s" % (S.shape[1:],))
    pos = {f: (f if full else i) for i, f in enumerate(fr)}
    get = lambda f: S[pos[f]][::-1] if a.flip else S[pos[f]]
    o = score(get, fr, Truth(a.truth), a.tol)
    show(o)
    if a.json:
        json.dump(o, open(a.json, "w"), default=float)
