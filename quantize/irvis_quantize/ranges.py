"""Chooses the range of every INT8 tensor by the error of the final picture against the teacher's.

Three candidates are made on the calibration pairs and judged on the pairs held out: MinMax; the clip with the
least local squared error; and a descent from the better one, tensor by tensor, by the error against the
teacher. The best on the held-out pairs is taken, so a descent that does not generalize is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto

from irvis_runtime.contract import FUSED
from irvis_runtime.progress import Progress

from .examples import Example, middle
from .int8 import Range, quantize, quantized_tensors

CLIP_SHARES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5)
DESCENT_SHARES = (0.7, 0.85, 1.2)
SAMPLES_PER_TENSOR = 4096


@dataclass
class Choice:
    """The ranges taken, and what every candidate cost on the pairs held out."""

    ranges: dict[str, Range]
    method: str
    held_out_mse: dict[str, float]
    steps: list[dict[str, float | str]] = field(default_factory=list)


def choose_ranges(
    model: ModelProto,
    calibration: Sequence[Example],
    held_out: Sequence[Example],
    extremes: Sequence[Mapping[str, NDArray[np.generic]]],
) -> Choice:
    """Returns the ranges of all tensors that INT8 needs; errors are mean squared, in grey levels squared."""
    names = quantized_tensors(model)
    values, bounds = _observe(model, names, [example.inputs for example in calibration], extremes)
    candidates = {
        "minmax": {name: Range(*bounds[name]) for name in names},
        "local-mse": {name: _local_mse_range(values[name], bounds[name]) for name in names},
    }
    parts = [middle(example) for example in calibration]
    on_calibration = {method: teacher_error(model, ranges, parts) for method, ranges in candidates.items()}
    start = min(on_calibration, key=on_calibration.__getitem__)
    descended, steps = _descend(model, candidates[start], on_calibration[start], parts)
    candidates["teacher-descent"] = descended
    on_held_out = {method: teacher_error(model, ranges, held_out) for method, ranges in candidates.items()}
    best = min(on_held_out, key=on_held_out.__getitem__)
    return Choice(candidates[best], best, on_held_out, steps)


def teacher_error(model: ModelProto, ranges: Mapping[str, Range], examples: Sequence[Example]) -> float:
    """Mean squared error of the quantized model's pictures against the teacher's, in grey levels squared."""
    session = open_bytes(quantize(model, ranges))
    errors = []
    for example in examples:
        fused = session.run([FUSED], example.inputs)[0][0, 0]
        errors.append(float(np.square(fused.astype(np.float32) - example.target_hw).mean()))
    return float(np.mean(errors))


def open_bytes(model: ModelProto) -> ort.InferenceSession:
    """A session of a graph in memory."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _observe(
    model: ModelProto,
    names: Sequence[str],
    calibration: Sequence[Mapping[str, NDArray[np.generic]]],
    extremes: Sequence[Mapping[str, NDArray[np.generic]]],
) -> tuple[dict[str, NDArray[np.float32]], dict[str, tuple[float, float]]]:
    """Samples of every tensor's values over the calibration pairs, and its bounds over the extremes too."""
    watched = ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names
    )
    session = open_bytes(watched)
    random = np.random.default_rng(0)
    samples: dict[str, list[NDArray[np.float32]]] = {name: [] for name in names}
    low, high = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    for position, inputs in enumerate([*calibration, *extremes]):
        for name, tensor in zip(names, session.run(list(names), dict(inputs)), strict=True):
            # Unlike Python's, numpy's minimum hands on a NaN, which Range then refuses.
            low[name] = float(np.minimum(low[name], tensor.min()))
            high[name] = float(np.maximum(high[name], tensor.max()))
            if position < len(calibration):
                samples[name].append(random.choice(tensor.ravel(), SAMPLES_PER_TENSOR))
    return {name: np.concatenate(parts) for name, parts in samples.items()}, {
        n: (low[n], high[n]) for n in names
    }


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
    model: ModelProto, start: Mapping[str, Range], start_error: float, calibration: Sequence[Example]
) -> tuple[dict[str, Range], list[dict[str, float | str]]]:
    """One pass over the tensors; each keeps the share of its range that the teacher's error likes best."""
    best, best_error = dict(start), start_error
    steps: list[dict[str, float | str]] = []
    with Progress("choosing INT8 ranges", len(best)) as progress:
        for name in list(best):
            row: dict[str, float | str] = {"tensor": name, "mse_before": best_error}
            for share in DESCENT_SHARES:
                trial = best | {name: Range(start[name].low * share, start[name].high * share)}
                error = teacher_error(model, trial, calibration)
                row[f"mse_at_{share}"] = error
                if error < best_error:
                    best, best_error = trial, error
            steps.append(row | {"low": best[name].low, "high": best[name].high})
            progress.step(f"mse {best_error:.2f}")
    return best, steps
