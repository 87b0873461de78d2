from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto

from irvis_quantize.examples import Example
from irvis_quantize.gate import Fidelity, Limits, measure, psnr_db
from irvis_quantize.int8 import quantize, quantized_tensors
from irvis_quantize.range import Range
from irvis_quantize.sessions import open_bytes
from irvis_runtime.contract import FUSED
from irvis_runtime.errors import ContractError

GOOD = Fidelity(
    teacher_psnr_db=24.9,
    worst_teacher_psnr_db=22.0,
    fp32_teacher_psnr_db=25.0,
    agreement_psnr_db=45.0,
    worst_agreement_psnr_db=41.0,
    max_lsb=9,
    pairs=3,
)


def test_good_passes_and_the_limit_itself_is_allowed() -> None:
    assert GOOD.failures(Limits()) == []
    assert GOOD.failures(Limits(25.0 - 24.9, 45.0, 41.0)) == []


def test_each_failure_is_named() -> None:
    dropped = replace(GOOD, teacher_psnr_db=24.0)
    assert dropped.failures(Limits()) == ["PSNR to the teacher falls by 1.00 dB, allowed are 0.30"]
    noisy = replace(GOOD, teacher_psnr_db=25.0, agreement_psnr_db=44.9)
    assert noisy.failures(Limits()) == [
        "the pairs agree with FP32 by 44.9 dB in the mean, asked for are 45.0"
    ]
    apart = replace(GOOD, teacher_psnr_db=25.0, worst_agreement_psnr_db=29.9)
    assert apart.failures(Limits()) == ["the worst pair agrees with FP32 by 29.9 dB, asked for are 30.0"]
    both = replace(dropped, worst_agreement_psnr_db=10.0)
    assert len(both.failures(Limits())) == 2


def test_better_than_fp32_is_no_failure() -> None:
    assert replace(GOOD, teacher_psnr_db=26.0).failures(Limits(max_drop_db=0.0)) == []


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_limits_that_switch_the_gate_off_are_refused(value: float) -> None:
    with pytest.raises(ContractError, match="--max-drop-db: expected a number of dB, got"):
        Limits(max_drop_db=value)
    with pytest.raises(ContractError, match="--min-agreement-db: expected a number of dB, got"):
        Limits(min_agreement_db=value)
    with pytest.raises(ContractError, match="--min-mean-agreement-db: expected a number of dB, got"):
        Limits(min_mean_agreement_db=value)


def test_a_file_against_itself(tiny: ModelProto, examples: list[Example]) -> None:
    session = open_bytes(tiny)
    fused = session.run([FUSED], examples[0].inputs)[0][0, 0].astype(np.float32)
    judges = [Example(f"{level} off", examples[0].inputs, fused + level) for level in (1.0, 10.0)]
    found = measure(session, session, judges)
    assert (found.agreement_psnr_db, found.max_lsb, found.pairs) == (100.0, 0, 2)
    assert found.teacher_psnr_db == found.fp32_teacher_psnr_db
    # 20 log10(255 / 10) is 20 dB below 20 log10(255 / 1), and the mean lies between.
    assert found.worst_teacher_psnr_db == pytest.approx(28.1308, abs=1e-4)
    assert found.teacher_psnr_db == pytest.approx(38.1308, abs=1e-4)
    assert found.failures(Limits(max_drop_db=0.0)) == []


def test_a_ruined_file_is_refused(tiny: ModelProto, examples: list[Example]) -> None:
    ruined = quantize(tiny, {name: Range(-0.1, 0.1) for name in quantized_tensors(tiny)})
    found = measure(open_bytes(tiny), open_bytes(ruined), examples[:2])
    assert found.max_lsb > 20
    assert len(found.failures(Limits())) == 3
    assert found.worst_agreement_psnr_db <= found.agreement_psnr_db


def test_psnr_of_one_level() -> None:
    """20 log10(255), as every text on PSNR gives it."""
    assert psnr_db(np.ones((4, 5), np.float32)) == pytest.approx(48.1308, abs=1e-4)


@given(st.floats(0.01, 255.0))
def test_psnr_falls_as_the_error_grows(level: float) -> None:
    difference = np.full((3, 3), level, np.float32)
    assert psnr_db(difference) == pytest.approx(20 * math.log10(255 / np.float32(level)), abs=1e-6)
    assert psnr_db(-difference) == psnr_db(difference)


def test_psnr_of_nothing_is_a_hundred() -> None:
    assert psnr_db(np.zeros((3, 3), np.float32)) == 100.0
