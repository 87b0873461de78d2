"""What the INT8 files are built from: the graph of each for any set of layers that stay floats."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from onnx import ModelProto

from irvis_runtime.model_files.calibration_file import Levels

from .equalize import Equalized, choose_equalization
from .examples import Example, extremes, middle
from .int8 import prepared, quantize
from .layers import before_shuffle, quantized_layers
from .mixed import Build
from .ranges import Choice, choose_ranges, local_mse_ranges
from .trt import TrtPlan, plan_trt, to_fp16_trt, to_trt
from .weights import Rounded

CAMERA_HW = (480, 640)
"""Noise at a camera's size has other thumbnails than at a small one."""


@dataclass(frozen=True)
class Plan:
    """One way to levels: which layers there are, what they take, and the graph."""

    builds: Mapping[str, Build]
    """By precision; layers are moved by the first, and the others move the same."""
    taken: Mapping[str, str]
    """Convolution -> the tensor whose levels it takes, in the graph's order."""
    levels: tuple[Levels, ...]
    equalized: Equalized
    """The FP32 graph that all of a run's plans quantize."""
    choice: Choice | None = None
    """How the ranges were found, where they were searched for."""


def plan_all(
    model: ModelProto, precisions: Sequence[str], calibration: Sequence[Example], held_out: Sequence[Example]
) -> dict[str, Plan]:
    """The plans that these precisions need: "int8" for ONNX Runtime's file, "trt" for those for TensorRT."""
    wants_trt = any(name.endswith("-trt") for name in precisions)
    if "int8" not in precisions and not wants_trt:
        return {}
    parts = [middle(example) for example in calibration]
    inputs = [part.inputs for part in parts]

    def as_int8(equalized: ModelProto, rounded: Mapping[str, Rounded]) -> ModelProto:
        return quantize(equalized, local_mse_ranges(equalized, inputs, extremes()), rounded)

    def as_trt(equalized: ModelProto, rounded: Mapping[str, Rounded]) -> ModelProto:
        return to_trt(plan_trt(equalized, inputs, extremes(), rounded))

    found = choose_equalization(model, parts, extremes(), as_int8 if "int8" in precisions else as_trt)
    plans = {}
    if "int8" in precisions:
        choice = choose_ranges(
            found.model, calibration, held_out, found.rounded, extremes(), extremes(CAMERA_HW)
        )
        plans["int8"] = _int8_plan(found, choice)
    if wants_trt:
        plans["trt"] = _trt_plan(found, plan_trt(found.model, inputs, extremes(), found.rounded), precisions)
    return plans


def _int8_plan(equalized: Equalized, choice: Choice) -> Plan:
    graph = prepared(equalized.model)
    taken = {layer.conv.name: before_shuffle(graph, layer.conv.input[0]) for layer in quantized_layers(graph)}
    levels = []
    for name, span in choice.ranges.items():
        scale, zero_point = span.scale_and_zero_point()
        levels.append(Levels(name, *span.ends(), float(scale), zero_point, choice.clipped_share[name]))

    def build(kept: Collection[str]) -> ModelProto:
        return quantize(equalized.model, choice.ranges, choice.rounded, kept)

    return Plan({"int8": build}, taken, tuple(levels), equalized, choice)


def _trt_plan(equalized: Equalized, trt: TrtPlan, precisions: Sequence[str]) -> Plan:
    # The file that loses more comes first.
    builds: dict[str, Build] = {
        "int8-fp16-trt": lambda kept: to_fp16_trt(trt, kept),
        "int8-trt": lambda kept: to_trt(trt, kept),
    }
    asked = {name: build for name, build in builds.items() if name in precisions}
    return Plan(asked, trt.taken, tuple(trt.steps.values()), equalized)
