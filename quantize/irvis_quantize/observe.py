"""Looks at a model's tensors over calibration pairs and extremes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto

from .sessions import open_bytes

SAMPLES_PER_TENSOR = 4096
"""Of each pair."""


def observe(
    model: ModelProto,
    names: Sequence[str],
    calibration: Sequence[Mapping[str, NDArray[np.generic]]],
    extremes: Sequence[Mapping[str, NDArray[np.generic]]],
) -> tuple[dict[str, NDArray[np.float32]], dict[str, tuple[float, float]]]:
    """Samples of every tensor's values over the calibration pairs, and its bounds over the extremes too."""
    session = open_bytes(_watched(model, names))
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


def observe_channels(
    model: ModelProto, names: Sequence[str], calibration: Sequence[Mapping[str, NDArray[np.generic]]]
) -> dict[str, NDArray[np.float32]]:
    """The largest magnitude of each channel (C,) of every tensor over the calibration pairs."""
    session = open_bytes(_watched(model, names))
    found: dict[str, NDArray[np.float32]] = {}
    for inputs in calibration:
        for name, tensor in zip(names, session.run(list(names), dict(inputs)), strict=True):
            reached = np.abs(tensor).max(axis=(0, 2, 3))
            found[name] = np.maximum(found.get(name, reached), reached)
    return found


def _watched(model: ModelProto, names: Sequence[str]) -> ModelProto:
    """The model with these tensors given out too."""
    watched = ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names
    )
    return watched
