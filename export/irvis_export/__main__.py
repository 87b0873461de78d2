"""`irvis export`: student.safetensors -> model.onnx, or a teacher -> its own ONNX for labels and comparison."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from irvis_runtime.atomic import replacing
from irvis_runtime.cli import Parser
from irvis_runtime.contract import (
    INPUT_PORTS,
    OUTPUT_PORTS,
    ModelFile,
    load_manifest,
    save_manifest,
    sha256_of,
)
from irvis_runtime.errors import ContractError
from irvis_runtime.onnx_file import check_onnx
from irvis_train.student_files import load_student
from irvis_train.teacher import load_teacher

from .check import MAX_DIFFERENCE_LSB, Parity, compare
from .to_onnx import OPSET, export_student, export_teacher

MODEL_NAME = "model.onnx"


def main(argv: Sequence[str]) -> int:
    """Runs `irvis export ...` and returns its exit code."""
    parser = Parser(prog="irvis export", description="Write a model directory's FP32 ONNX, or a teacher's.")
    parser.add_argument("model_dir", type=Path, nargs="?", help="model directory with student.safetensors")
    parser.add_argument("--teacher", type=Path, help="instead: a teacher as `irvis train student` takes it")
    parser.add_argument("-o", "--output", type=Path, help="the teacher's .onnx file to write")
    arguments = parser.parse_args(argv)
    if arguments.teacher is not None:
        if arguments.output is None or arguments.output.suffix != ".onnx" or arguments.model_dir is not None:
            raise ContractError("--teacher: expected `irvis export --teacher CHECKPOINT -o TEACHER.onnx` and nothing else")
        export_teacher(load_teacher(arguments.teacher), arguments.output)
        sys.stdout.write(f"{arguments.output}\n")
        return 0
    if arguments.model_dir is None or arguments.output is not None:
        raise ContractError("expected `irvis export MODEL_DIR`, or `irvis export --teacher CHECKPOINT -o TEACHER.onnx`")
    parities = export_model_dir(arguments.model_dir)
    for parity in parities:
        sys.stdout.write(
            f"{parity.width}x{parity.height}: differs by at most {parity.max_lsb} LSB from torch, "
            f"at {100 * parity.differing_share:.2f} % of the pixels\n"
        )
    return 0


def export_model_dir(model_dir: Path) -> list[Parity]:
    """Writes model.onnx and enters it into the manifest if it agrees with torch; returns the parity at every size.

    Where it does not agree, nothing of the model directory changes. Files of other precisions, made from an older
    model.onnx, leave the manifest: they no longer belong to these weights.
    """
    manifest = load_manifest(model_dir)
    student = load_student(model_dir)
    path = model_dir / MODEL_NAME
    with replacing(path) as temporary:
        export_student(student, temporary)
        check_onnx(temporary, INPUT_PORTS, OUTPUT_PORTS, OPSET)
        parities = compare(student, temporary)
        if max(parity.max_lsb for parity in parities) > MAX_DIFFERENCE_LSB:
            raise ContractError(
                f"{path}: differs from torch by {max(p.max_lsb for p in parities)} LSB, expected at most "
                f"{MAX_DIFFERENCE_LSB}; nothing was written; report this with the versions of torch and onnx"
            )
    file = ModelFile(MODEL_NAME, sha256_of(path), OPSET)
    measured = {**manifest.measured, "fp32": {"parity_with_torch": [asdict(parity) for parity in parities]}}
    for precision in manifest.files:
        if precision != "fp32":
            measured.pop(precision, None)
    save_manifest(model_dir, replace(manifest, files={"fp32": file}, measured=measured))
    return parities


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
