"""Rate-distortion curves: reading published ones, comparing by Bjøntegaard's means, drawing."""

from __future__ import annotations

import json
import math
from bisect import bisect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Kinds of curve, and how each is drawn.
STYLES: dict[str, dict[str, Any]] = {
    "ours": {"linestyle": "-", "linewidth": 3.0, "marker": "o", "markersize": 8, "zorder": 3},
    "measured": {"linestyle": "-", "linewidth": 1.2},
    "neural": {"linestyle": "--", "linewidth": 1.2, "marker": ".", "markersize": 5},
    "classic": {"linestyle": ":", "linewidth": 1.6},
}
OUR_COLOUR = "#d01818"
#: For each kind in turn, from its own start, so that alike colours differ in their line.
COLOURS = (
    *("#1f5fa8", "#58a6dd", "#b8860b", "#e0b020", "#2e8b57", "#7b3fa0", "#111111", "#9a9a9a"),
    *("#8c564b", "#17a0b0", "#e377c2"),
)
STARTS = {"neural": 0, "classic": 5, "measured": 8}
TICKS = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1, 1.5, 2, 3, 5)
#: How far a plot reaches around our points: factor on the rate, dB below.
MARGIN, BELOW_DB = 1.9, 3.5
#: How far a curve is continued beyond its ends: rate control undershoots by as much.
SLACK = 1.03


@dataclass(frozen=True)
class Curve:
    """Points of one codec, both ascending: where a dearer point is no better, it is left out."""

    label: str
    kind: str
    bpp: tuple[float, ...]
    psnr_db: tuple[float, ...]

    @classmethod
    def through(cls, label: str, kind: str, points: list[tuple[float, float]]) -> Curve:
        """points: (bpp, PSNR in dB), in any order."""
        kept: list[tuple[float, float]] = []
        for rate, quality in sorted(points):
            if not kept or (rate > kept[-1][0] and quality > kept[-1][1]):
                kept.append((rate, quality))
        return cls(label, kind, tuple(r for r, _ in kept), tuple(q for _, q in kept))

    def at(self, bpp: float) -> float | None:
        """PSNR in dB, linear in log(bpp), up to SLACK beyond the ends; None further out."""
        if not self.bpp or not self.bpp[0] / SLACK <= bpp <= self.bpp[-1] * SLACK:
            return None
        if len(self.bpp) == 1:
            return self.psnr_db[0]
        first = min(max(0, bisect(self.bpp, bpp) - 1), len(self.bpp) - 2)
        (r0, r1), (q0, q1) = self.bpp[first : first + 2], self.psnr_db[first : first + 2]
        return q0 + (q1 - q0) * math.log(bpp / r0) / math.log(r1 / r0)


def read_anchors(path: Path) -> dict[str, Curve]:
    """Published curves, {"codecs": {name: {"label", "kind", "bpp": […], "psnr_db": […]}}}.

    Raises ValueError, one line, for a file that is none.
    """
    try:
        found = json.loads(path.read_text())["codecs"]
        curves = {}
        for name, codec in found.items():
            if codec["kind"] not in ("neural", "classic") or min(codec["bpp"]) <= 0:
                raise ValueError(f"'{name}' has a kind or a rate that is none")
            points = list(zip(map(float, codec["bpp"]), map(float, codec["psnr_db"]), strict=True))
            curves[name] = Curve.through(str(codec["label"]), codec["kind"], points)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"'{path}' holds no published curves ({type(error).__name__}: {error}); "
            "bench/anchors.json shows the form"
        ) from error
    return curves


def overlap(one: tuple[float, ...], other: tuple[float, ...]) -> tuple[float, float] | None:
    """The range that both ascending series cover, None where that is none."""
    if min(len(one), len(other)) < 2:
        return None
    low, high = max(one[0], other[0]), min(one[-1], other[-1])
    return (low, high) if low < high else None


def bjontegaard_means(anchor: Curve, ours: Curve) -> dict[str, Any]:
    """Mean differences of ours to `anchor` over the ranges that both cover.

    bd_rate_percent over the range psnr_db, bd_psnr_db over the range bpp; each None where its
    range is. pchip goes through every point and never overshoots, so it holds for two or three
    points too, where the classic cubic does not. Raises ImportError without bjontegaard.
    """
    from bjontegaard import bd_psnr, bd_rate  # type: ignore[import-untyped]

    curves = (anchor.bpp, anchor.psnr_db, ours.bpp, ours.psnr_db)
    how = {"method": "pchip", "require_matching_points": False, "min_overlap": 0}
    quality, rate = overlap(anchor.psnr_db, ours.psnr_db), overlap(anchor.bpp, ours.bpp)
    return {
        "points": [len(ours.bpp), len(anchor.bpp)],
        "psnr_db": quality,
        "bd_rate_percent": float(bd_rate(*curves, **how)) if quality else None,
        "bpp": rate,
        "bd_psnr_db": float(bd_psnr(*curves, **how)) if rate else None,
    }


def plot(ours: Curve, others: list[Curve], title: str, path: Path) -> None:
    """PSNR over rate around our points; the legend is in the order of the curves, best first."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    low, high = ours.bpp[0] / MARGIN, ours.bpp[-1] * MARGIN
    # The frame's edges count as points, so that no curve stops short of them.
    seen: dict[Curve, list[float]] = {}
    for curve in [ours, *others]:
        inside = [curve.at(rate) for rate in (low, *curve.bpp, high) if low <= rate <= high]
        seen[curve] = [quality for quality in inside if quality is not None]
    shown = [curve for curve in others if len(seen[curve]) > 1]
    qualities = [q for curve in [ours, *shown] for q in seen[curve]]
    figure, axes = pyplot.subplots(
        figsize=(9, max(5.2, 0.2 * (len(shown) + 2))), layout="constrained"
    )
    following = dict(STARTS)
    for curve in shown:
        colour = COLOURS[following[curve.kind] % len(COLOURS)]
        following[curve.kind] += 1
        axes.plot(curve.bpp, curve.psnr_db, color=colour, label=curve.label, **STYLES[curve.kind])
    axes.plot(ours.bpp, ours.psnr_db, color=OUR_COLOUR, label=ours.label, **STYLES["ours"])
    axes.set(xscale="log", xlabel="bits per pixel", ylabel="PSNR, dB", xlim=(low, high))
    bottom = max(min(qualities) - 0.3, ours.psnr_db[0] - BELOW_DB)
    axes.set_ylim(bottom, max(qualities) + 0.3)
    ticks = [tick for tick in TICKS if low <= tick <= high]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_title(title)
    axes.grid(alpha=0.3)
    level = [seen[curve][-1] for curve in (*shown, ours)]
    lines = [
        line
        for _, line in sorted(zip(level, axes.get_lines(), strict=True), key=lambda pair: -pair[0])
    ]
    figure.legend(handles=lines, loc="outside right upper", fontsize=9, handlelength=3.5)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    print(f"\nwritten: {path}")
