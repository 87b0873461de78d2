"""What ONNX Runtime's own quantizer makes of the same model, pairs and convolutions, to compare with."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from irvis_runtime.contract import FUSED

from .examples import Example, middle
from .gate import measure
from .int8 import prepared
from .layers import quantized_layers
from .sessions import open_bytes

METHODS = ("MinMax", "Entropy", "Percentile")
REPEATS = 15

Row = Mapping[str, float | int]


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """The middles of the pairs, as `choose_ranges` takes them, of the size that most of them have.

    The stock histograms stack all pictures of a tensor and fail on different sizes.
    """

    def __init__(self, examples: Sequence[Example]) -> None:
        parts = [middle(example) for example in examples]
        sizes = Counter(part.target_hw.shape for part in parts)
        (usual, _), *_ = sizes.most_common(1)
        self._left = iter([part for part in parts if part.target_hw.shape == usual])

    def get_next(self) -> dict[str, NDArray[np.generic]] | None:
        """The ports of the next; None after the last."""
        part = next(self._left, None)
        return None if part is None else part.inputs


def quantize_by_stock(model: ModelProto, method: str, calibration: Sequence[Example]) -> ModelProto:
    """Q/DQ around the convolutions that irvis quantizes too: uint8, weights int8 per channel."""
    with tempfile.TemporaryDirectory() as folder, _quiet():
        source, result = Path(folder) / "model.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, source)
        quantize_static(
            source,
            result,
            _Reader(calibration),
            quant_format=QuantFormat.QDQ,
            nodes_to_quantize=[layer.conv.name for layer in quantized_layers(prepared(model))],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=getattr(CalibrationMethod, method),
        )
        return onnx.load(result)


def compare(
    model: ModelProto, own: ModelProto, calibration: Sequence[Example], held_out: Sequence[Example]
) -> dict[str, Row]:
    """By name, irvis's file and the stock quantizer's three: likeness on the pairs held out, and `ms`.

    Times are medians on the first of these pairs, all taking turns with FP32.
    """
    made = {method: quantize_by_stock(model, method, calibration) for method in METHODS}
    sessions = {"FP32": open_bytes(model), "irvis": open_bytes(own)}
    sessions |= {method: open_bytes(graph) for method, graph in made.items()}
    times = _times_ms(sessions, held_out[0])
    full = sessions["FP32"]
    return {
        name: {**asdict(measure(full, session, held_out)), "ms": times[name]}
        for name, session in sessions.items()
    }


def table(rows: Mapping[str, Row]) -> str:
    """The comparison as Markdown."""
    lines = [
        "| | dB to the teacher | dB to FP32, mean | worst pair | ms |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, row in rows.items():
        own = "" if name == "FP32" else f"{row['agreement_psnr_db']:.1f}"
        worst = "" if name == "FP32" else f"{row['worst_agreement_psnr_db']:.1f}"
        lines.append(f"| {name} | {row['teacher_psnr_db']:.2f} | {own} | {worst} | {row['ms']:.1f} |")
    return "\n".join(lines) + "\n"


def times_ms(graphs: Mapping[str, ModelProto], example: Example) -> dict[str, float]:
    """By name, the median time of an example's pictures, all taking turns."""
    return _times_ms({name: open_bytes(graph) for name, graph in graphs.items()}, example)


def _times_ms(sessions: Mapping[str, ort.InferenceSession], example: Example) -> dict[str, float]:
    taken: dict[str, list[float]] = {name: [] for name in sessions}
    for repeat in range(REPEATS + 1):
        for name, session in sessions.items():
            start_s = time.perf_counter()
            session.run([FUSED], example.inputs)
            if repeat:
                taken[name].append(1000.0 * (time.perf_counter() - start_s))
    return {name: float(np.median(values)) for name, values in taken.items()}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The stock quantizer prints its progress and advises a preparation that dynamic sizes do not survive."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)
