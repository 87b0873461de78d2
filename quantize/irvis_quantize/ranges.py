"""Chooses range and rounding of every INT8 tensor by the error of the final picture.

The error is the squared one to the teacher's picture plus that to FP32's: the former is what counts, and is
so large beside what INT8 adds that alone it would follow the accidents of a few pairs. Candidates are made on
the calibration pairs and judged on the pairs held out: MinMax; the clip with the least local squared error; a
descent from the better one, tensor by tensor; the same with weights rounded to the nearest. The best on the
held-out pairs is taken, so that what does not generalize is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto

from irvis_runtime.contract import FUSED
from irvis_runtime.progress import Progress

from .examples import Example, middle
from .int8 import quantize, quantized_tensors
from .observe import observe
from .range import Range
from .sessions import open_bytes
from .weights import Rounded

CLIP_SHARES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5)
DESCENT_SHARES = (0.7, 0.85, 1.2)
EXTREMES_SHARE = 0.02
"""Of the error on frames without a scene: clips chosen by scenes alone left white frames 24 dB to FP32."""

Inputs = Mapping[str, NDArray[np.generic]]


@dataclass
class Choice:
    """The ranges and weights taken, and what every candidate cost on the pairs held out."""

    ranges: dict[str, Range]
    rounded: Mapping[str, Rounded]
    """Weights by their convolution's name; empty where rounding to the nearest was better."""
    clipped_share: dict[str, float]
    """By tensor, of the values that calibration saw, those beyond the range."""
    method: str
    held_out_error: dict[str, float]
    steps: list[dict[str, float | str]] = field(default_factory=list)


class Judge:
    """What INT8 candidates of one model cost over some examples, in grey levels squared."""

    def __init__(
        self, model: ModelProto, examples: Sequence[Example], extremes: Sequence[Inputs] = ()
    ) -> None:
        self.model, self.examples, self.extremes = model, examples, extremes
        session = open_bytes(model)
        self._full_hw = [_picture(session, example.inputs) for example in examples]
        self._full_extremes_hw = [_picture(session, inputs) for inputs in extremes]

    def error(self, ranges: Mapping[str, Range], rounded: Mapping[str, Rounded]) -> float:
        """Mean squared error to the teacher's pictures plus that to FP32's and a share of the extremes'."""
        session = open_bytes(quantize(self.model, ranges, rounded))
        errors = []
        for example, full_hw in zip(self.examples, self._full_hw, strict=True):
            fused_hw = _picture(session, example.inputs)
            errors += [np.square(fused_hw - wanted).mean() for wanted in (example.target_hw, full_hw)]
        beyond = [
            np.square(_picture(session, inputs) - full_hw).mean()
            for inputs, full_hw in zip(self.extremes, self._full_extremes_hw, strict=True)
        ]
        return 2.0 * float(np.mean(errors)) + (EXTREMES_SHARE * float(np.mean(beyond)) if beyond else 0.0)


def choose_ranges(
    model: ModelProto,
    calibration: Sequence[Example],
    held_out: Sequence[Example],
    rounded: Mapping[str, Rounded],
    extremes: Sequence[Inputs],
    large_extremes: Sequence[Inputs] = (),
) -> Choice:
    """Returns the ranges of all tensors that INT8 needs, and `rounded` unless the nearest levels are better.

    MinMax holds the extremes; the large ones only count in the error: they reach far beyond what scenes do.
    """
    names = quantized_tensors(model)
    values, bounds = observe(model, names, [example.inputs for example in calibration], extremes)
    first = {
        "minmax": {name: Range(*bounds[name]) for name in names},
        "local-mse": {name: _local_mse_range(values[name], bounds[name]) for name in names},
    }
    parts = [middle(example) for example in calibration]
    plain: dict[str, Rounded] = {}
    judge = Judge(model, parts, large_extremes)
    on_calibration = {method: judge.error(ranges, rounded) for method, ranges in first.items()}
    start = min(on_calibration, key=on_calibration.__getitem__)
    descended, steps = _descend(judge, first[start], on_calibration[start], rounded)
    candidates = {method: (ranges, rounded) for method, ranges in first.items()}
    candidates |= {"descent": (descended, rounded), "descent, nearest": (descended, plain)}
    judge = Judge(model, held_out, large_extremes)
    on_held_out = {method: judge.error(*candidate) for method, candidate in candidates.items()}
    best = min(on_held_out, key=on_held_out.__getitem__)
    ranges, weights = candidates[best]
    clipped = {name: _clipped_share(values[name], span) for name, span in ranges.items()}
    return Choice(ranges, weights, clipped, best, on_held_out, steps)


def local_mse_ranges(
    model: ModelProto, calibration: Sequence[Inputs], extremes: Sequence[Inputs]
) -> dict[str, Range]:
    """Of every tensor that INT8 needs, the clip with the least local squared error: a quick first choice."""
    names = quantized_tensors(model)
    values, bounds = observe(model, names, calibration, extremes)
    return {name: _local_mse_range(values[name], bounds[name]) for name in names}


def _picture(session: ort.InferenceSession, inputs: Inputs) -> NDArray[np.float32]:
    fused: NDArray[np.uint8] = session.run([FUSED], dict(inputs))[0][0, 0]
    return fused.astype(np.float32)


def _clipped_share(values: NDArray[np.float32], span: Range) -> float:
    low, high = span.ends()
    return float(((values < low) | (values > high)).mean())


def _local_mse_range(values: NDArray[np.float32], bounds: tuple[float, float]) -> Range:
    """The share of the bounds whose 256 levels give the values back with the least squared error."""
    errors = {}
    for share in CLIP_SHARES:
        span = Range(bounds[0] * share, bounds[1] * share)
        scale, zero_point = span.scale_and_zero_point()
        levels = np.clip(np.rint(values / scale) + zero_point, 0, 255)
        errors[span] = float(np.square((levels - zero_point) * scale - values).mean())
    return min(errors, key=errors.__getitem__)


def _descend(
    judge: Judge, start: Mapping[str, Range], start_error: float, rounded: Mapping[str, Rounded]
) -> tuple[dict[str, Range], list[dict[str, float | str]]]:
    """One pass over the tensors; each keeps the share of its range with the least error."""
    best, best_error = dict(start), start_error
    steps: list[dict[str, float | str]] = []
    with Progress("choosing INT8 ranges", len(best)) as progress:
        for name in list(best):
            row: dict[str, float | str] = {"tensor": name, "error_before": best_error}
            for share in DESCENT_SHARES:
                trial = best | {name: Range(start[name].low * share, start[name].high * share)}
                error = judge.error(trial, rounded)
                row[f"error_at_{share}"] = error
                if error < best_error:
                    best, best_error = trial, error
            steps.append(row | {"low": best[name].low, "high": best[name].high})
            progress.step(f"error {best_error:.2f}")
    return best, steps
