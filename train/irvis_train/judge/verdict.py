"""Each model against each limit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from irvis_runtime.report.pareto import Point

from .contenders import PUBLISHED
from .flicker import FlickerSummary
from .judged import Judged, Limits, Verdict
from .patch import JumpSummary

SPEED_LIMITS: Mapping[str, Callable[[Limits], float]] = {
    "FP32": lambda limits: limits.speed_fp32,
    "INT8": lambda limits: limits.speed_int8,
}


def find_verdicts(judged: Judged) -> list[Verdict]:
    """Every model against every limit whose figure was measured, model by model."""
    return [verdict for model in judged.models for verdict in _of_model(judged, model.name)]


def _of_model(judged: Judged, name: str) -> Iterator[Verdict]:
    limits = judged.limits
    if name in judged.likeness:
        row = judged.likeness[name]
        worst = f"worst {row.worst_psnr_db:.2f}, {row.worst_pair}"
        yield _at_least(name, "PSNR to the teacher, dB", row.psnr_db, limits.psnr_db, worst)
        yield _at_least(name, "SSIM to the teacher", row.ssim, limits.ssim, f"worst {row.worst_ssim:.3f}")
    for scene, found in (("still, noise", judged.static_flicker), ("clips", judged.clip_flicker)):
        if name in found:
            yield from _of_flicker(scene, name, found, limits)
    for kind, jump in judged.patch.get(name, {}).items():
        published = judged.patch[PUBLISHED][kind]
        yield _of_patch(name, kind, jump, published, limits)
    if name in judged.tiles:
        tiles = judged.tiles[name]
        seams = next(iter(tiles.seams.values()))
        field = "no receptive field" if tiles.field_px is None else f"overlap {seams.overlap_px} px"
        passed = tiles.field_px is not None and seams.max_lsb <= limits.tile_lsb
        yield Verdict(name, "tiles, levels off the whole", seams.max_lsb, limits.tile_lsb, passed, field)
    if name in judged.robustness:
        robust = judged.robustness[name]
        count = len(robust.rows)
        note = (
            f"less in {robust.ahead} of {count}; PSNR {robust.psnr_db:.2f} dB, published "
            f"{robust.published_psnr_db:.2f} dB, higher in {robust.ahead_in_psnr} of {count}"
        )
        passed = robust.loss_db < robust.published_loss_db
        figure = "degraded inputs, dB lost, less than the published damage costs"
        yield Verdict(name, figure, robust.loss_db, robust.published_loss_db, passed, note)
    yield from _of_speed(name, judged.speed, limits)


def _of_flicker(
    scene: str, name: str, found: Mapping[str, FlickerSummary], limits: Limits
) -> Iterator[Verdict]:
    ours, published = found[name], found[PUBLISHED]
    note = f"published {published.ratio:.3f}; worst {ours.worst_ratio:.3f}"
    yield _at_most(name, f"flicker, {scene}", ours.ratio, limits.flicker_ratio, note)
    note = f"published {published.excess:.3f}"
    limit = limits.flicker_excess_share * published.excess
    yield _at_most(name, f"flicker's excess, {scene}", ours.excess, limit, note)


def _of_patch(name: str, kind: str, jump: JumpSummary, published: JumpSummary, limits: Limits) -> Verdict:
    settling = "" if jump.settling_s is None else f"; 90 % settled after {jump.settling_s:.1f} s"
    note = f"published {published.distant:.2f}; worst {jump.worst_distant:.2f}, {jump.worst_pair}{settling}"
    where = "both pictures" if kind == "both" else f"the {kind} picture"
    passed = jump.distant < limits.patch_levels
    return Verdict(name, f"patch in {where}, levels", jump.distant, limits.patch_levels, passed, note)


def _of_speed(name: str, points: tuple[Point, ...], limits: Limits) -> Iterator[Verdict]:
    for point in points:
        for precision, limit in SPEED_LIMITS.items():
            if point.name == f"{name} {precision}":
                figure = f"speed of {precision}, times the teacher's"
                yield _at_least(name, figure, point.speed_up, limit(limits), f"{point.psnr_db:.2f} dB")


def _at_least(model: str, figure: str, found: float, limit: float, note: str) -> Verdict:
    return Verdict(model, figure, found, limit, found >= limit, note)


def _at_most(model: str, figure: str, found: float, limit: float, note: str) -> Verdict:
    return Verdict(model, figure, found, limit, found <= limit, note)
