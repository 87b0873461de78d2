"""`irvis judge`: its figures on fusions whose right answer is known."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from irvis_runtime.context import STAGE_TIMES
from irvis_train.degrade import INFRARED, VISIBLE
from irvis_train.judge.contenders import (
    FRAMES_PER_S,
    PUBLISHED,
    Contender,
    Context,
    Picture,
    fuse_live,
)
from irvis_train.judge.fidelity import judge_likeness
from irvis_train.judge.flicker import Flicker, measure_flicker, noisy_repeats
from irvis_train.judge.motion import find_motion, stand_still
from irvis_train.judge.patch import MAX_FRAMES, first_settled, judge_patch
from irvis_train.judge.robust import judge_robustness
from irvis_train.judge.tiles import fuse_tiles, judge_tiles, measure_field

from .judged import a_pair, average, texture
from .labelled_pairs import labelled


def stretched(infrared_hw: Picture, visible_hw: Picture, context: Context | None) -> Picture:
    """The average at 1.5 times its contrast."""
    mean = (infrared_hw.astype(np.float32) + visible_hw) / 2
    shown: Picture = np.clip(128 + 1.5 * (mean - 128), 0, 255).astype(np.uint8)
    return shown


def of_context(infrared_hw: Picture, visible_hw: Picture, context: Context | None) -> Picture:
    """A flat picture that follows the visible context's mean, six times as far."""
    assert context is not None
    return np.full(visible_hw.shape, min(255, round(6 * float(context[0, 1].mean()))), np.uint8)


def flicker_of(contender: Contender, sigma: float = 4.0) -> Flicker:
    frames = noisy_repeats((texture((128, 160), 1), texture((128, 160), 2)), sigma, 5, seed=0)
    return measure_flicker(
        list(fuse_live(contender, frames, None)), frames, stand_still(frames), is_static=True
    )


def test_the_average_flickers_as_its_inputs_do() -> None:
    found = flicker_of(Contender("average", average))
    assert found.ratio == pytest.approx(1.0, abs=0.03)
    assert found.local_ratio == pytest.approx(1.0, abs=0.05)
    assert found.gain == pytest.approx(1.0, abs=0.01)


def test_contrast_is_no_flicker() -> None:
    found = flicker_of(Contender("stretched", stretched))
    assert found.gain == pytest.approx(1.5, abs=0.05)
    assert found.ratio == pytest.approx(1.0, abs=0.03)


def test_breathing_is_flicker() -> None:
    count = 0

    def breathing(infrared_hw: Picture, visible_hw: Picture, context: Context | None) -> Picture:
        nonlocal count
        count += 1
        shown: Picture = average(infrared_hw, visible_hw, context) + np.uint8(12 * (count % 2))
        return shown

    found = flicker_of(Contender("breathing", breathing), sigma=1.0)
    assert found.pumping == pytest.approx(12.0, abs=0.2)
    assert found.ratio > 5
    assert found.excess == pytest.approx(found.ratio - 1)


def test_what_moves_is_followed() -> None:
    infrared, visible = texture((160, 240), 1, 4.0), texture((160, 240), 2, 4.0)
    frames = [(infrared[:, 2 * n : 200 + 2 * n], visible[:, 2 * n : 200 + 2 * n]) for n in range(4)]
    motion = find_motion(frames)
    fused = [average(*frame, None) for frame in frames]
    followed = measure_flicker(fused, frames, motion)
    unmoved = measure_flicker(fused, frames, stand_still(frames))
    assert followed.fused_change < 0.35 * unmoved.fused_change
    assert followed.ratio == pytest.approx(1.0, abs=0.1)
    assert 0.7 < followed.kept_share < 1.0
    # The columns that come in at the right were not in sight before.
    assert not motion.kept[0][:, -1].any()


def test_what_is_hidden_is_left_out() -> None:
    ground = texture((240, 320), 3, 4.0)
    frames = []
    for n in range(3):
        picture = ground.copy()
        picture[40:80, 20 + 14 * n : 60 + 14 * n] = texture((40, 40), 4, 2.0)
        frames.append((picture, picture))
    kept = find_motion(frames).kept[0]
    assert not kept[60, 24:32].all()
    assert kept[160:, 160:].mean() > 0.9


def test_a_jump_follows_the_smoothing() -> None:
    size_hw = (120, 260)
    level = np.full(size_hw, 20, np.uint8)
    flat = labelled(level, level, "a")
    contenders = [Contender("of context", of_context)]
    found = judge_patch(contenders, [flat], context_s=0.5)["of context"]
    # Two equal stages have let 1 - (1 + x) exp(-x) through after x time constants of one: its largest step.
    frames = np.arange(60) * STAGE_TIMES / (0.5 * FRAMES_PER_S)
    share = float(np.diff(1.0 - (1.0 + frames) * np.exp(-frames)).max())
    rise = 235 * 60 * 80 / (size_hw[0] * size_hw[1])
    assert found["visible"].final == pytest.approx(min(255, 6 * (20 + rise)) - 120, abs=1)
    assert found["visible"].distant == pytest.approx(6 * share * rise, abs=1)
    assert found["infrared"].final == 0
    assert found["infrared"].settling_s is None
    # 90 % of an exponential takes ln(10) time constants; what is clipped at 255 ends sooner.
    assert 0.3 < (found["visible"].settling_s or 0) <= 0.5 * math.log(10) + 2 / 30


def test_bands_tell_near_from_far() -> None:
    pair = a_pair((120, 400))
    near = judge_patch([Contender("average", average)], [pair], None)["average"]["visible"]
    assert near.distant == 0
    assert near.bands == (0, 0, 0, 0)


def test_pairs_without_distant_pixels_are_passed_over() -> None:
    assert judge_patch([Contender("average", average)], [a_pair((64, 64))], None) == {}


def test_settling_is_found_by_halving() -> None:
    assert first_settled(lambda n: 1.0 / n, 0.1) == 10
    assert first_settled(lambda n: 0.0, 0.1) == 1
    assert first_settled(lambda n: 1.0 if n < MAX_FRAMES else 0.0, 0.1) == MAX_FRAMES
    assert first_settled(lambda n: 1.0, 0.1) is None


def blurred(infrared_hw: Picture, visible_hw: Picture, context: Context | None) -> Picture:
    return np.asarray(cv2.blur(visible_hw, (41, 41), borderType=cv2.BORDER_REPLICATE), np.uint8)


def test_tiles_agree_once_the_overlap_holds_the_field() -> None:
    frame, contender = (texture((96, 128), 1), texture((96, 128), 2)), Contender("blurred", blurred)
    context = np.zeros((1, 2, 64, 64), np.float32)
    whole = blurred(*frame, None)
    assert np.array_equal(fuse_tiles(contender, frame, context, 20), whole)
    assert not np.array_equal(fuse_tiles(contender, frame, context, 8), whole)


def test_the_field_is_found_by_changing_a_block() -> None:
    frame = (texture((160, 192), 1), texture((160, 192), 2))
    assert measure_field(Contender("blurred", blurred), frame) == 20
    assert measure_field(Contender("average", average), frame) == 0


def test_a_whole_picture_norm_has_no_field() -> None:
    def normed(infrared_hw: Picture, visible_hw: Picture, context: Context | None) -> Picture:
        shown: Picture = (visible_hw * (200.0 / visible_hw.max())).astype(np.uint8)
        return shown

    visible: Picture = np.tile(np.linspace(20, 150, 128).astype(np.uint8), (96, 1))
    pair = labelled(visible, visible, "ramp")
    found = judge_tiles([Contender(PUBLISHED, normed), Contender("blurred", blurred)], [pair])
    assert found[PUBLISHED].field_px is None
    assert found["blurred"].field_px is not None
    (seams,) = found[PUBLISHED].seams.values()
    assert seams.max_lsb > 2
    assert next(iter(found["blurred"].seams.values())).max_lsb == 0


def test_likeness_is_exact_where_it_must_be() -> None:
    pair = a_pair()
    off = Contender("off", lambda i, v, c: average(i, v, c) + np.uint8(2))
    found = judge_likeness([Contender(PUBLISHED, average), Contender("same", average), off], [pair])
    assert PUBLISHED not in found
    # The target is kept in half precision: near 1/4000 of a level in 255.
    assert found["same"].psnr_db > 60
    assert found["same"].ssim == pytest.approx(1.0)
    assert found["off"].psnr_db == pytest.approx(20 * math.log10(255 / 2), abs=0.1)
    assert found["off"].worst_pair == "a/1"


def test_degraded_inputs_are_judged_by_the_clean_picture() -> None:
    pairs = [a_pair()]
    steady = Contender("steady", lambda i, v, c: np.full_like(v, 128))
    found = judge_robustness(
        [Contender(PUBLISHED, average), steady, Contender("same", average)], pairs, [0.3, 0.9]
    )
    assert len(found["same"].rows) == 2 * (len(VISIBLE) + len(INFRARED)) + 1
    assert all(row.loss_db == 0 for row in found["steady"].rows)
    assert found["steady"].ahead == len(found["steady"].rows)
    assert found["same"].ahead_in_psnr == 0
    blur = {row.severity: row for row in found["same"].rows if row.degradation == "visible blur"}
    assert blur[0.9].psnr_db < blur[0.3].psnr_db < found["same"].clean_psnr_db
    assert blur[0.3].psnr_db == blur[0.3].published_psnr_db
