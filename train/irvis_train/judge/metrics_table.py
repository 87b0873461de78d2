"""The field's metrics of every contender beside trivial fusions and published pictures, set by set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from irvis_runtime.bench.quality import baselines, mean_metrics, measure
from irvis_runtime.image import read_visible
from irvis_runtime.metrics import METRICS
from irvis_runtime.pairs import Pair, read_pair
from irvis_runtime.picture_files import PICTURE_SUFFIXES
from irvis_runtime.progress import Progress
from irvis_runtime.report.numbers import title

from .contenders import Contender, Picture

WANTED = ("EN", "SD", "SF", "AG", "MI", "VIF", "Qabf", "SSIM", "SCD", "Nabf")
NOTABLE = 0.02
"""Share of a value by which another must be better to be told."""

Pictures = Mapping[str, Mapping[str, Path]]
"""Method -> stem -> its fused picture."""


@dataclass(frozen=True)
class MetricsTable:
    """One set of pairs, each at its own size."""

    pairs: int
    rows: dict[str, dict[str, float | None]]
    """Contender, trivial fusion or published method -> metric -> mean over the pairs; None where a pair is
    too small for it."""
    left_out: dict[str, int]
    """Published methods -> how many of the pairs they lack, or have at another size; such a method has no
    row, because a part of a set compares with nothing."""


def metric_names() -> list[str]:
    """Those wanted that this version of irvis computes."""
    return [name for name in WANTED if name in METRICS]


def judge_metrics(
    contenders: Sequence[Contender], sets: Mapping[str, Sequence[Pair]], published: Path | None
) -> dict[str, MetricsTable]:
    """One table a set; `published` holds <set>/<method>/<stem of the pair>.png or .jpg."""
    tables = {}
    with Progress("metrics", sum(len(pairs) for pairs in sets.values())) as progress:
        for set_name, pairs in sets.items():
            pictures = find_pictures(published / set_name) if published else {}
            rows: dict[str, list[dict[str, float | None]]] = {}
            for pair in pairs:
                for name, row in _measure_pair(contenders, pair, pictures).items():
                    rows.setdefault(name, []).append(row)
                progress.step(pair.name)
            whole = {name: mean_metrics(found) for name, found in rows.items() if len(found) == len(pairs)}
            left_out = {name: len(pairs) - len(rows.get(name, [])) for name in pictures if name not in whole}
            tables[set_name] = MetricsTable(len(pairs), whole, left_out)
    return tables


def find_pictures(folder: Path) -> Pictures:
    """The published fused pictures below a set's folder, by method and stem."""
    if not folder.is_dir():
        return {}
    return {
        method.name: {
            path.stem: path for path in sorted(method.iterdir()) if path.suffix.lower() in PICTURE_SUFFIXES
        }
        for method in sorted(folder.iterdir())
        if method.is_dir()
    }


def losses(table: MetricsTable, name: str) -> dict[str, list[str]]:
    """Where a row loses: other row -> metrics in which that one is better by more than 2 %."""
    found = {}
    for other, theirs in table.rows.items():
        behind = [
            metric
            for metric, ours in table.rows[name].items()
            if other != name and _is_better(metric, theirs[metric], ours)
        ]
        if behind:
            found[other] = behind
    return found


def _measure_pair(
    contenders: Sequence[Contender], pair: Pair, pictures: Pictures
) -> dict[str, dict[str, float | None]]:
    infrared_hw, visible_hw = read_pair(pair)
    fused: dict[str, Picture] = {c.name: c.fuse(infrared_hw, visible_hw, None) for c in contenders}
    fused |= {title(name): picture for name, picture in baselines(infrared_hw, visible_hw).items()}
    stem = pair.name.rpartition("/")[2]
    for method, by_stem in pictures.items():
        if stem in by_stem:
            picture_hw = read_visible(by_stem[stem]).luma_hw
            if picture_hw.shape == visible_hw.shape:
                fused[method] = picture_hw
    return {name: measure(p, infrared_hw, visible_hw, metric_names()) for name, p in fused.items()}


def _is_better(metric: str, theirs: float | None, ours: float | None) -> bool:
    if theirs is None or ours is None:
        return False
    sign = 1.0 if METRICS[metric].higher_is_better else -1.0
    return sign * (theirs - ours) > NOTABLE * abs(ours)
