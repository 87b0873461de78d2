"""Distillation on a GPU: batches are made there, and the run takes up its checkpoint again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from irvis_train.batches import Batch, BatchMaker
from irvis_train.config import DistillConfig
from irvis_train.distill import distil
from irvis_train.ldfusion import LdFusion
from irvis_train.student_files import load_student

from .labelled_pairs import planes, read
from .runs import log_rows

MakeConfig = Callable[..., DistillConfig]
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]
CUDA = "cuda"
KINDS: list[Callable[[BatchMaker, int], Batch]] = [
    lambda maker, step: maker.cached(step, 4, 32),
    lambda maker, step: maker.fresh(step, 4, 32),
    lambda maker, step: maker.degraded(step, 4, 32, 0.6),
    lambda maker, step: maker.whole(step, 4, 16),
]


def test_batches_are_made_on_the_gpu(pairs: Path, teacher: LdFusion) -> None:
    known = read(pairs / "train", teacher)
    on_cpu = BatchMaker(known, teacher, 7)
    one, other = (BatchMaker(known, teacher.to(CUDA), 7, device=torch.device(CUDA)) for _ in range(2))
    for step in range(4):
        for kind in KINDS:
            batch = kind(one, step)
            assert all(plane.device.type == CUDA for plane in planes(batch))
            again = kind(other, step)
            assert all(torch.equal(a, b) for a, b in zip(planes(batch)[:3], planes(again)[:3], strict=True))
            # The teacher's convolutions add up in another order each time.
            torch.testing.assert_close(batch.target, again.target, rtol=0, atol=2e-3)
        for plane, there in zip(
            planes(one.cached(step, 4, 32)), planes(on_cpu.cached(step, 4, 32)), strict=True
        ):
            torch.testing.assert_close(plane.cpu(), there, rtol=0, atol=1e-6)


def test_a_run_on_the_gpu_goes_on_where_it_was(make_config: MakeConfig, tmp_path: Path) -> None:
    """Its convolutions add up in another order each time: nearly the weights of one that never stopped."""
    options = {
        **{"device": CUDA, "steps": 8, "validate_every": 100, "checkpoint_every": 2},
        **{"fresh_every": 3, "degraded_every": 4, "whole_every": 2, "late_batch": 2},
    }
    whole = distil(make_config(tmp_path / "whole", **options))
    broken_off = make_config(tmp_path / "parts", **options)
    with pytest.MonkeyPatch.context() as patch:
        taken = BatchMaker.cached

        def stop(self: BatchMaker, step: int, count: int, side_px: int) -> object:
            if step >= 4:
                raise KeyboardInterrupt
            return taken(self, step, count, side_px)

        patch.setattr(BatchMaker, "cached", stop)
        with pytest.raises(KeyboardInterrupt):
            distil(broken_off)
    resumed = distil(broken_off)
    assert [row["step"] for row in log_rows(tmp_path / "parts")] == [8]
    differences = [
        (one - other).abs().mean()
        for one, other in zip(
            load_student(whole).parameters(), load_student(resumed).parameters(), strict=True
        )
    ]
    # Eight steps of Adam move a weight by up to 0.016.
    assert float(torch.stack(differences).max()) < 5e-4
