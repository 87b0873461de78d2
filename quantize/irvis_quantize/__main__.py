"""`irvis quantize`: model.onnx -> model.int8.onnx and model.fp16.onnx, judged by the teacher."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import onnx
from onnx import ModelProto

from irvis_runtime.atomic import replacing, write_text
from irvis_runtime.cli import Parser
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
from irvis_runtime.model_files.onnx_file import check_onnx

from . import fp16, stock, trt
from .examples import Example, extremes, middle, read_examples, split
from .gate import Fidelity, Limits, measure
from .int8 import quantize
from .lint import find_faults
from .ranges import Choice, choose_ranges
from .sessions import open_bytes

FILES = {
    "int8": ("model.int8.onnx", 17),
    "fp16": ("model.fp16.onnx", fp16.OPSET),
    "int8-trt": ("model.int8-trt.onnx", trt.OPSET),
}
DEFAULT = ("int8", "fp16")
CAMERA_HW = (480, 640)
"""Noise at a camera's size has other thumbnails than at a small one."""
CALIBRATION_NAME = "calibration.json"


def main(argv: Sequence[str]) -> int:
    """Runs `irvis quantize ...` and returns its exit code: 1 where a precision did not pass the gate."""
    arguments = _parser().parse_args(argv)
    limits = Limits(arguments.max_drop_db, arguments.min_agreement_db)
    precisions = _precisions(arguments.precisions)
    # Before the teacher works for minutes.
    checked_model_path(arguments.model_dir, load_manifest(arguments.model_dir), "fp32")
    examples = read_examples(arguments.pairs, arguments.teacher, arguments.count, tuple(arguments.exclude))
    results = quantize_model_dir(arguments.model_dir, examples, limits, precisions)
    told: dict[str, object] = {name: asdict(found) for name, found in results.items()}
    if arguments.compare:
        told["comparison"] = _compare(arguments.model_dir, examples)
    if arguments.json is not None:
        _write_json(arguments.json, told)
    return _tell(results, limits)


def _parser() -> Parser:
    parser = Parser(
        prog="irvis quantize", description="Write INT8 and FP16 files, calibrated against the teacher."
    )
    add = parser.add_argument
    add("model_dir", type=Path, help="model directory with model.onnx")
    add("--pairs", type=Path, required=True, help="folder of pairs (ir/, vis/) to calibrate on")
    teacher = "the teacher: its .onnx, a folder of its pictures, or a model directory"
    add("--teacher", type=Path, required=True, help=teacher)
    add("--count", type=int, default=36, help="pairs to take (default 36); every third one judges")
    add("--exclude", action="append", default=[], help="part of pair names to leave out; may be repeated")
    add(
        "--precisions",
        metavar="A,B",
        default=",".join(DEFAULT),
        help=f"of {', '.join(FILES)} (default: all but int8-trt)",
    )
    drop = f"PSNR to the teacher that may be lost, in dB (default {Limits.max_drop_db})"
    add("--max-drop-db", type=float, default=Limits.max_drop_db, help=drop)
    agreement = f"PSNR to FP32 that the worst pair must keep, in dB (default {Limits.min_agreement_db})"
    add("--min-agreement-db", type=float, default=Limits.min_agreement_db, help=agreement)
    add("--compare", action="store_true", help="also print what ONNX Runtime's own quantizer makes of it")
    add("--json", type=Path, help="write what was measured to this file too")
    return parser


def _precisions(letters: str) -> tuple[str, ...]:
    """The names in `letters`; ContractError for one that is no precision to make."""
    names = tuple(name.strip() for name in letters.split(","))
    for name in names:
        if name not in FILES:
            raise ContractError(
                f"--precisions: expected some of {', '.join(FILES)}, got {name!r}; correct it"
            )
    return names


def quantize_model_dir(
    model_dir: Path, examples: list[Example], limits: Limits, precisions: Sequence[str] = DEFAULT
) -> dict[str, Fidelity]:
    """Makes the files of these precisions and returns what each showed; the manifest gets those that pass.

    A file that fails is not written, and an older one of its precision leaves the manifest.
    """
    manifest = load_manifest(model_dir)
    model = onnx.load(checked_model_path(model_dir, manifest, "fp32"))
    _check_rules(model, "model.onnx")
    calibration, held_out = split(examples)
    choice = choose_ranges(model, calibration, held_out, extremes(), extremes(CAMERA_HW))
    made = {}
    if "int8" in precisions:
        made["int8"] = quantize(model, choice.ranges, choice.rounded)
    if "fp16" in precisions:
        made["fp16"] = fp16.to_fp16(model)
    if "int8-trt" in precisions:
        inputs = [middle(example).inputs for example in calibration]
        made["int8-trt"] = trt.to_trt(model, inputs, extremes(), choice.compensated)
        _check_rules(made["int8-trt"], FILES["int8-trt"][0])
    full = open_bytes(model)
    results = {name: measure(full, open_bytes(graph), held_out) for name, graph in made.items()}
    passed = {name: graph for name, graph in made.items() if not results[name].failures(limits)}
    _write_calibration(model_dir / CALIBRATION_NAME, choice, calibration, held_out)
    save_manifest(model_dir, _enter(model_dir, manifest, passed, results))
    return results


def _check_rules(model: ModelProto, name: str) -> None:
    """ContractError where TensorRT would refuse the graph or run it slowly."""
    faults = find_faults(model)
    if faults:
        more = f" and {len(faults) - 1} more" if len(faults) > 1 else ""
        raise ContractError(
            f"{name}: TensorRT would not take it as it is: {faults[0]}{more}; export the model again"
        )


def _compare(model_dir: Path, examples: list[Example]) -> dict[str, dict[str, float | int]]:
    """Prints and returns how irvis's INT8 file stands beside the stock quantizer's."""
    manifest = load_manifest(model_dir)
    if "int8" not in manifest.files:
        raise ContractError(
            f"{model_dir}: has no INT8 file to compare, as none passed the gate; see --max-drop-db"
        )
    own, full = (onnx.load(checked_model_path(model_dir, manifest, name)) for name in ("int8", "fp32"))
    rows = stock.compare(full, own, *split(examples))
    sys.stdout.write(stock.table(rows))
    return {name: dict(row) for name, row in rows.items()}


def _enter(
    model_dir: Path, manifest: Manifest, passed: dict[str, ModelProto], results: dict[str, Fidelity]
) -> Manifest:
    """Writes the files that passed and returns the manifest that names them."""
    files = {name: file for name, file in manifest.files.items() if name not in results}
    measured = dict(manifest.measured)
    for name, graph in passed.items():
        file_name, opset = FILES[name]
        with replacing(model_dir / file_name) as temporary:
            temporary.write_bytes(graph.SerializeToString(deterministic=True))
            check_onnx(temporary, INPUT_PORTS, OUTPUT_PORTS, opset, name == ONNX_RUNTIME_PRECISION)
        files[name] = ModelFile(file_name, sha256_of(model_dir / file_name), opset)
    for name, fidelity in results.items():
        measured[name] = {"passed": name in passed, "held_out": _rounded(fidelity)}
    return replace(manifest, files=files, measured=measured)


def _write_calibration(
    path: Path, choice: Choice, calibration: list[Example], held_out: list[Example]
) -> None:
    """Says what was chosen, tensor by tensor, and what each choice cost against the teacher."""
    content = {
        "method": choice.method,
        "unit": "mean squared error to the teacher plus that to FP32, grey levels squared",
        "held_out_error": choice.held_out_error,
        "weights": "compensated" if choice.rounded else "nearest",
        "calibration_pairs": [example.name for example in calibration],
        "held_out_pairs": [example.name for example in held_out],
        "ranges": {name: [span.low, span.high] for name, span in choice.ranges.items()},
        "descent": choice.steps,
    }
    _write_json(path, content)


def _write_json(path: Path, content: Mapping[str, object]) -> None:
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def _rounded(fidelity: Fidelity) -> dict[str, float | int]:
    return {name: round(value, 3) for name, value in asdict(fidelity).items()}


def _tell(results: dict[str, Fidelity], limits: Limits) -> int:
    code = 0
    for name, fidelity in results.items():
        failures = fidelity.failures(limits)
        verdict = "refused: " + "; ".join(failures) if failures else "passed"
        sys.stdout.write(
            f"{name}: {fidelity.teacher_psnr_db:.2f} dB to the teacher "
            f"(FP32 {fidelity.fp32_teacher_psnr_db:.2f}), {fidelity.agreement_psnr_db:.1f} dB to FP32, "
            f"worst pair {fidelity.worst_agreement_psnr_db:.1f}, {verdict}\n"
        )
        code = 1 if failures else code
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
