"""One run: plans the levels, settles which layers have them, judges, and writes what passed at the end."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import onnx
from onnx import ModelProto

from irvis_export.graph import Graph
from irvis_export.lint import find_faults
from irvis_runtime.atomic import replacing, write_text
from irvis_runtime.contract import (
    INPUT_PORTS,
    ONNX_RUNTIME_PRECISION,
    OUTPUT_PORTS,
    Manifest,
    ModelFile,
    checked_model_path,
    load_manifest,
    save_manifest,
    sha256_of,
)
from irvis_runtime.errors import ContractError
from irvis_runtime.model_files.calibration_file import (
    CALIBRATION_NAME,
    CALIBRATION_SCHEMA,
    CalibrationFile,
    PrecisionChoice,
    calibration_to_json,
)
from irvis_runtime.model_files.onnx_file import check_onnx

from . import fp16, trt
from .examples import Example, middle, split
from .gate import Fidelity, Limits, Reference
from .layers import quantized_layers
from .mixed import LayerCost, Settled, find_costs, settle
from .plans import Plan, plan_all
from .record import describe, describe_fp32, write_pictures
from .sessions import open_bytes

FILES = {
    "int8": ("model.int8.onnx", 17),
    "fp16": ("model.fp16.onnx", fp16.OPSET),
    "int8-trt": ("model.int8-trt.onnx", trt.OPSET),
    "int8-fp16-trt": ("model.int8-fp16-trt.onnx", fp16.OPSET),
}
DEFAULT = ("int8", "fp16")
AIM_DROP_DB = 0.1
MOST_MOVED = 4
COST_PAIRS = 8
"""Of the calibration pairs, by which layers are put in order."""


@dataclass(frozen=True)
class Options:
    """How a run is made."""

    precisions: Sequence[str] = DEFAULT
    aim_drop_db: float = AIM_DROP_DB
    """Of PSNR to the teacher, above which layers are left in floats; the gate's own limit may be wider."""
    most_moved: int = MOST_MOVED
    """Layers that may stay floats in each INT8 file."""
    pictures: bool = False
    """Whether the pair that suffered most is written as pictures, which the report shows."""
    command: str = ""


def load_float_model(model_dir: Path) -> ModelProto:
    """The model directory's FP32 graph; ContractError for one that cannot be quantized."""
    model = onnx.load(checked_model_path(model_dir, load_manifest(model_dir), "fp32"))
    _check_float(model)
    _check_rules(model, "model.onnx")
    return model


def quantize_model_dir(
    model_dir: Path, examples: list[Example], limits: Limits, options: Options | None = None
) -> dict[str, Fidelity]:
    """Makes the files asked for and returns what each showed; the manifest gets those that pass.

    A file that fails is not written, and an older one of its precision leaves the manifest. Until everything
    is made and judged nothing in the directory changes.
    """
    options = options or Options()
    model = load_float_model(model_dir)
    calibration, held_out = split(examples)
    reference = Reference(open_bytes(model), held_out)
    plans = plan_all(model, options.precisions, calibration, held_out)
    costs = _costs(model, plans, calibration)
    settled = _settle_all(model, plans, costs, reference, limits, options)
    plan_of = {name: plan for plan in plans.values() for name in plan.builds}
    cost_of = {name: costs[key] for key, plan in plans.items() for name in plan.builds}
    choices = {
        name: describe(name, file, reference, limits, plan_of.get(name), cost_of.get(name, {}))
        for name, file in settled.items()
    }
    hashes = _write_files(
        model_dir, {name: settled[name].graph for name, choice in choices.items() if not choice.failures}
    )
    pictures = tuple(
        write_pictures(model_dir, name, settled[name], reference, choice.to_fp32.worst_pair)
        for name, choice in choices.items()
        if options.pictures and choice.to_fp32.worst_pair is not None
    )
    choices = {name: replace(choice, sha256=hashes.get(name)) for name, choice in choices.items()}
    choice = plans["int8"].choice if "int8" in plans else None
    equalized = next((plan.equalized for plan in plans.values()), None)
    content = CalibrationFile(
        schema=CALIBRATION_SCHEMA,
        command=options.command,
        method=None if choice is None else choice.method,
        weights="nearest" if choice is not None and not choice.rounded else "compensated",
        equalized=None if equalized is None else equalized.scope,
        equalized_agreement_db={} if equalized is None else dict(equalized.agreement_db),
        unit="mean squared error to the teacher plus that to FP32, grey levels squared",
        held_out_error={} if choice is None else choice.held_out_error,
        calibration_pairs=tuple(example.name for example in calibration),
        held_out_pairs=tuple(example.name for example in held_out),
        fp32_to_teacher=describe_fp32(reference),
        precisions=choices,
        pictures=pictures,
        descent=() if choice is None else tuple(dict[str, object](step) for step in choice.steps),
    )
    write_text(model_dir / CALIBRATION_NAME, calibration_to_json(content))
    results = {name: file.fidelity for name, file in settled.items()}
    save_manifest(model_dir, _entered(load_manifest(model_dir), hashes, choices, results))
    return results


def _costs(
    model: ModelProto, plans: Mapping[str, Plan], calibration: Sequence[Example]
) -> dict[str, dict[str, LayerCost]]:
    """Of each plan's layers, on parts of some calibration pairs: those held out judge what comes of it."""
    if not plans:
        return {}
    chosen = calibration[:: max(len(calibration) // COST_PAIRS, 1)][:COST_PAIRS]
    reference = Reference(open_bytes(model), [middle(example) for example in chosen])
    return {
        key: find_costs(next(iter(plan.builds.values())), list(plan.taken), reference, key)
        for key, plan in plans.items()
    }


def _settle_all(
    model: ModelProto,
    plans: Mapping[str, Plan],
    costs: Mapping[str, Mapping[str, LayerCost]],
    reference: Reference,
    limits: Limits,
    options: Options,
) -> dict[str, Settled]:
    aim = replace(limits, max_drop_db=min(limits.max_drop_db, options.aim_drop_db))
    settled: dict[str, Settled] = {}
    for key, plan in plans.items():
        moved: tuple[str, ...] | None = None
        for name, build in plan.builds.items():
            if moved is None:
                settled[name] = settle(build, costs[key], reference, aim, options.most_moved)
                moved = settled[name].moved
            else:
                graph = build(moved)
                settled[name] = Settled(graph, moved, reference.measure(open_bytes(graph)))
            if name.endswith("-trt"):
                _check_rules(settled[name].graph, FILES[name][0])
    if "fp16" in options.precisions:
        half = fp16.to_fp16(model)
        settled["fp16"] = Settled(half, (), reference.measure(open_bytes(half)))
    return {name: settled[name] for name in options.precisions}


def _check_float(model: ModelProto) -> None:
    """ContractError for a graph that is quantized already, and for one without layers to quantize."""
    for node in model.graph.node:
        if node.op_type.startswith(("QLinear", "Quantize", "Dequantize")) or node.op_type.endswith("Integer"):
            raise ContractError(
                f"model.onnx: expected a graph of floats, got {node.op_type}: it is quantized already; "
                "run `irvis export` again"
            )
    if not quantized_layers(Graph(model)):
        raise ContractError(
            "model.onnx: expected convolutions that see the pictures, got none to quantize; "
            "name a model that `irvis export` wrote"
        )


def _check_rules(model: ModelProto, name: str) -> None:
    """ContractError where TensorRT would refuse the graph or run it slowly."""
    faults = find_faults(model)
    if faults:
        more = f" and {len(faults) - 1} more" if len(faults) > 1 else ""
        raise ContractError(
            f"{name}: TensorRT would not take it as it is: {faults[0]}{more}; export the model again"
        )


def _write_files(model_dir: Path, graphs: Mapping[str, ModelProto]) -> dict[str, str]:
    """Writes and checks all files before the first takes its place; returns their hashes."""
    with ExitStack() as stack:
        for name, graph in graphs.items():
            file_name, opset = FILES[name]
            temporary = stack.enter_context(replacing(model_dir / file_name))
            temporary.write_bytes(graph.SerializeToString(deterministic=True))
            check_onnx(temporary, INPUT_PORTS, OUTPUT_PORTS, opset, name == ONNX_RUNTIME_PRECISION)
    return {name: sha256_of(model_dir / FILES[name][0]) for name in graphs}


def _entered(
    manifest: Manifest,
    hashes: Mapping[str, str],
    choices: Mapping[str, PrecisionChoice],
    results: Mapping[str, Fidelity],
) -> Manifest:
    """The manifest that names the files written and no others of these precisions."""
    files = {name: file for name, file in manifest.files.items() if name not in results}
    files |= {name: ModelFile(FILES[name][0], sha256, FILES[name][1]) for name, sha256 in hashes.items()}
    measured = dict(manifest.measured)
    for name, fidelity in results.items():
        told: dict[str, object] = {"passed": name in hashes, "held_out": _rounded(fidelity)}
        if choices[name].moved:
            told["layers_left_in_floats"] = list(choices[name].moved)
        measured[name] = told
    return replace(manifest, files=files, measured=measured)


def _rounded(fidelity: Fidelity) -> dict[str, float | int]:
    return {name: round(value, 3) for name, value in asdict(fidelity).items()}


def names_of(precisions: Collection[str]) -> tuple[str, ...]:
    """The precisions in a fixed order, each once; ContractError for one that is none to make."""
    for name in precisions:
        if name not in FILES:
            raise ContractError(
                f"--precisions: expected some of {', '.join(FILES)}, got {name!r}; correct it"
            )
    return tuple(name for name in FILES if name in precisions)
