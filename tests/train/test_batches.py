from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from irvis_runtime.errors import ContractError
from irvis_train.batches import PHASE_PX, STILL, Batch, BatchMaker, Repeat, clip_starts
from irvis_train.data import LabelledPair, make_contexts
from irvis_train.ldfusion import LdFusion

from .labelled_pairs import labelled, planes, read, same


@pytest.fixture
def clip() -> list[LabelledPair]:
    """Three frames; the left half brightens by a grey level each, the right half is another each time."""
    random = np.random.default_rng(4)
    still = random.integers(10, 200, (48, 32), np.uint8)
    frames = []
    for number in range(3):
        infrared_hw, visible_hw = (
            np.hstack(
                [
                    still + np.uint8(offset + number),
                    random.integers(0, 30, (48, 32), np.uint8) + np.uint8(100 * number),
                ]
            )
            for offset in (0, 20)
        )
        frames.append(labelled(infrared_hw, visible_hw, f"clips/a/{number}"))
    return frames


Make = Callable[[BatchMaker, int], Batch]
KINDS: dict[str, Make] = {
    "cached": lambda maker, step: maker.cached(step, 4, 32),
    "fresh": lambda maker, step: maker.fresh(step, 4, 32),
    "degraded": lambda maker, step: maker.degraded(step, 4, 32, 0.6),
    "neighbours": lambda maker, step: maker.neighbours(step, 4, 32),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_is_a_function_of_seed_and_step(
    kind: str, clip: list[LabelledPair], pairs: Path, teacher: LdFusion
) -> None:
    make, known = KINDS[kind], [*read(pairs / "train", teacher), *clip]
    one, other = (BatchMaker(known, teacher, 7, ["clips"]) for _ in range(2))
    forward = [make(one, step) for step in range(4)]
    np.random.seed(0)  # noqa: NPY002 - the global generator must not matter
    torch.manual_seed(0)
    backward = [make(other, step) for step in reversed(range(4))]
    assert all(same(a, b) for a, b in zip(forward, reversed(backward), strict=True))
    assert all(a.repeat is None or b.repeat is not None for a, b in zip(forward, backward, strict=True))
    assert not same(forward[0], forward[1])
    assert not same(make(BatchMaker(known, teacher, 8, ["clips"]), 0), forward[0])
    for batch in forward:
        assert [plane.shape for plane in planes(batch)] == [
            (4, 1, 32, 32),
            (4, 1, 32, 32),
            (4, 2, 64, 64),
            (4, 1, 32, 32),
        ]
        for plane in (batch.infrared, batch.visible, batch.target):
            assert 0.0 <= float(plane.min()) <= float(plane.max()) <= 1.0


def test_the_kinds_of_one_step_differ(clip: list[LabelledPair], teacher: LdFusion) -> None:
    maker = BatchMaker(clip, teacher, 7, ["clips"])
    batches = [make(maker, 0) for make in KINDS.values()]
    assert not any(same(a, b) for i, a in enumerate(batches) for b in batches[:i])


def test_the_second_half_of_a_degraded_batch_is_the_first_shifted(pairs: Path, teacher: LdFusion) -> None:
    maker = BatchMaker(read(pairs / "train", teacher), teacher, 5)
    shifts = set()
    for step in range(12):
        batch = maker.degraded(step, 4, 48, 0.6)
        assert batch.repeat is not None
        down, right = batch.repeat.shift_px
        shifts.add((down, right))

        def halves(
            picture: Tensor, shift_px: tuple[int, int] = batch.repeat.shift_px
        ) -> tuple[Tensor, Tensor]:
            rows, columns = shift_px
            return picture[:2, 0, rows:, columns:], picture[2:, 0, : 48 - rows, : 48 - columns]

        # The target is the same picture's; context and target are not touched by the noise.
        assert torch.equal(*halves(batch.target))
        assert torch.equal(batch.context[:2], batch.context[2:])
        for picture in (batch.infrared, batch.visible):
            first, second = halves(picture)
            noise = (first - second) * 255.0
            # Two noises of 5 grey levels each, less what is cut off at black and white.
            assert 1.0 < float(noise.std()) < 1.2 * 2**0.5 * 5.1
            unshifted = (picture[:2] - picture[2:]) * 255.0
            assert down == right == 0 or float(unshifted.std()) > float(noise.std())
            # Whole grey levels, as a camera gives them.
            torch.testing.assert_close(picture * 255.0, torch.round(picture * 255.0), rtol=0, atol=1e-3)
        assert batch.repeat.still is None
        assert float(batch.repeat.flicker(batch.target)) == 0.0
    # By what the teacher's strides allow, or not at all.
    assert shifts == {(down, right) for down in (0, PHASE_PX) for right in (0, PHASE_PX)}


class FirstPicture(nn.Module):
    """A teacher that fuses to the infrared picture, and keeps what it was shown."""

    def forward(self, infrared_n1hw: Tensor, visible_n1hw: Tensor) -> Tensor:
        self.seen = (infrared_n1hw, visible_n1hw)
        return infrared_n1hw


def test_the_target_of_a_degraded_batch_is_that_of_the_clean_pictures(pairs: Path, teacher: LdFusion) -> None:
    known, first = read(pairs / "train", teacher), FirstPicture()
    maker = BatchMaker(known, first, 5)
    changes = []
    for step in range(8):
        clean, degraded = (maker.degraded(step, 4, 48, severity) for severity in (0.0, 1.0))
        assert torch.equal(clean.target[:2], first.seen[0][..., :48, :48])
        assert torch.equal(degraded.target[:2], clean.target[:2])
        # Without degradation only the repeats' noise is between picture and target.
        assert float((clean.infrared - clean.target).std()) * 255.0 < 5.2
        assert torch.equal(clean.context[:2], make_contexts(*first.seen))
        for picture, was in ((degraded.infrared, clean.infrared), (degraded.visible, clean.visible)):
            changes.append(float((picture[:2] - was[:2]).square().mean().sqrt()) * 255.0)
        # The runtime sees the degraded pictures too: so does the context.
        assert not torch.equal(degraded.context, clean.context)
    # Noise alone differs by 7; a degradation by more.
    assert sum(change > 10.0 for change in changes) >= 6


def test_neighbours_are_two_frames_of_one_window(clip: list[LabelledPair], teacher: LdFusion) -> None:
    maker = BatchMaker(clip, teacher, 3, ["clips/a"])
    seen = set()
    for step in range(8):
        batch = maker.neighbours(step, 4, 32)
        assert batch.repeat is not None
        assert batch.repeat.still is not None
        assert batch.repeat.shift_px == (0, 0)
        first, second = batch.infrared.chunk(2)
        still = batch.repeat.still.bool()
        # The clip brightens by one grey level a frame where it stands still.
        torch.testing.assert_close((second - first)[still], torch.full_like(first[still], 1 / 255.0))
        torch.testing.assert_close(batch.target, batch.infrared, rtol=0, atol=1e-3)
        moved = (batch.infrared - batch.infrared.roll(2, dims=0)).abs()[:2] > STILL
        assert not (still & moved).any()
        # Both frames have one smoothed context: that of the frame between them.
        assert torch.equal(batch.context[:2], batch.context[2:])
        means = {round(float(context.mean()), 3) for context in batch.context}
        between = [0.5 * float((a.context_2hw + b.context_2hw).mean()) for a, b in pairwise(clip)]
        assert means <= {round(mean, 3) for mean in between}
        seen |= means
    assert len(seen) == 2


def test_neighbours_of_a_still_clip_have_no_moving_part(teacher: LdFusion) -> None:
    picture = np.random.default_rng(1).integers(0, 250, (40, 40), np.uint8)
    frames = [labelled(picture + np.uint8(number), picture, f"c/{number}") for number in range(2)]
    batch = BatchMaker(frames, teacher, 1, ["c/"]).neighbours(0, 2, 32)
    assert batch.repeat is not None
    assert batch.repeat.still is not None
    assert bool((batch.repeat.still == 1.0).all())
    assert float(batch.repeat.flicker(batch.target)) == pytest.approx(1 / 255.0, rel=0.1)


@given(
    down=st.integers(0, PHASE_PX),
    right=st.integers(0, PHASE_PX),
    seed=st.integers(0, 9),
)
@settings(max_examples=20, deadline=None)
def test_flicker_is_zero_where_the_fusion_moves_with_the_scene(down: int, right: int, seed: int) -> None:
    scene = torch.rand(2, 1, 24 + PHASE_PX, 32 + PHASE_PX, generator=torch.Generator().manual_seed(seed))
    windows = [scene[..., :24, :32], scene[..., down : down + 24, right : right + 32]]
    repeat = Repeat((down, right))
    assert float(repeat.flicker(torch.cat(windows))) == 0.0
    brighter = torch.cat([windows[0], windows[1] + 0.25])
    assert float(repeat.flicker(brighter)) == pytest.approx(0.25, rel=1e-5)
    if (down, right) != (0, 0):
        assert float(Repeat((0, 0)).flicker(torch.cat(windows))) > 0.05


def test_flicker_ignores_what_moved() -> None:
    first = torch.rand(2, 1, 8, 8)
    still = torch.ones(2, 1, 8, 8)
    still[..., 4:] = 0.0
    second = first.clone()
    second[..., 4:] += 0.5
    assert float(Repeat((0, 0), still).flicker(torch.cat([first, second]))) == 0.0
    assert float(Repeat((0, 0)).flicker(torch.cat([first, second]))) == pytest.approx(0.25)
    second[..., :4] += 0.1
    assert float(Repeat((0, 0), still).flicker(torch.cat([first, second]))) == pytest.approx(0.05, rel=1e-4)


def test_clips_start_where_the_next_pair_is_the_next_frame() -> None:
    picture = np.zeros((16, 16), np.uint8)
    named = [
        labelled(picture, picture, name)
        for name in ("day/1", "day/2", "clips/a/1", "clips/a/2", "clips/a/3", "clips/b/1", "clips/b/2")
    ]
    assert clip_starts(named, ["clips/"]) == [2, 3, 5]
    assert clip_starts(named, ["clips/b"]) == [5]
    assert clip_starts(named, ["day", "clips/a"]) == [0, 2, 3]
    assert clip_starts(named, []) == []
    # A frame of another size is of another clip.
    large = np.zeros((16, 24), np.uint8)
    named[3] = labelled(large, large, "clips/a/2")
    assert clip_starts(named, ["clips/"]) == [5]


def test_clips_without_consecutive_frames_are_refused(teacher: LdFusion) -> None:
    picture = np.zeros((16, 16), np.uint8)
    named = [labelled(picture, picture, name) for name in ("a/1", "b/1", "c/1")]
    for clips in (["a", "b"], ["clips/"]):
        with pytest.raises(
            ContractError, match=f"^clips: expected consecutive frames .*{', '.join(clips)}, found none"
        ) as info:
            BatchMaker(named, teacher, 1, clips)
        assert "\n" not in str(info.value)
