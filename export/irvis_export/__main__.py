"""`irvis export`: student.safetensors -> model.onnx, or a teacher -> an ONNX of its own, for labels."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import onnx

from irvis_runtime.atomic import replacing
from irvis_runtime.cli import Parser
from irvis_runtime.contract import (
    INPUT_PORTS,
    MANIFEST_NAME,
    OUTPUT_PORTS,
    PRECISIONS,
    ModelFile,
    load_manifest,
    save_manifest,
    sha256_of,
)
from irvis_runtime.errors import BackendError, ContractError
from irvis_runtime.model_files.onnx_file import check_onnx
from irvis_train.student import Student
from irvis_train.student_files import load_student
from irvis_train.teacher import load_teacher

from .check import MAX_DIFFERENCE_LSB, MAX_TEACHER_DIFFERENCE, Parity, compare, compare_teacher
from .dla import DLA_RULES
from .lint import find_faults
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
        if arguments.output is None or arguments.model_dir is not None:
            raise ContractError(
                "--teacher: expected `irvis export --teacher CHECKPOINT -o TEACHER.onnx` and nothing else"
            )
        export_teacher_file(arguments.teacher, arguments.output)
        sys.stdout.write(f"{arguments.output}\n")
        return 0
    if arguments.model_dir is None or arguments.output is not None:
        raise ContractError(
            "expected `irvis export MODEL_DIR`, or `irvis export --teacher CHECKPOINT -o TEACHER.onnx`"
        )
    for parity in export_model_dir(arguments.model_dir):
        sys.stdout.write(
            f"{parity.width}x{parity.height}: differs by at most {parity.max_lsb} LSB from torch, "
            f"at {100 * parity.differing_share:.2f} % of the pixels\n"
        )
    sys.stdout.write(_dla_text(arguments.model_dir / MODEL_NAME))
    return 0


def export_teacher_file(checkpoint: Path, output: Path) -> None:
    """Writes a published teacher as ONNX if it agrees with torch; a model directory teaches as it is."""
    if output.suffix != ".onnx":
        raise ContractError(f"{output}: expected a name that ends in .onnx; name another output")
    if (checkpoint / MANIFEST_NAME).exists():
        raise ContractError(
            f"{checkpoint}: expected a published checkpoint, got a model directory; "
            "give it to `--teacher` of `irvis quantize` and `irvis bench` as it is"
        )
    teacher = load_teacher(checkpoint)
    with replacing(output) as temporary:
        export_teacher(teacher, temporary)
        difference = compare_teacher(teacher, temporary)
        if difference > MAX_TEACHER_DIFFERENCE:
            raise BackendError(
                f"{output}: differs from torch by {difference:.2g}, expected at most "
                f"{MAX_TEACHER_DIFFERENCE}; nothing was written; use the versions in constraints.txt"
            )


def export_model_dir(model_dir: Path) -> list[Parity]:
    """Writes model.onnx, enters it into the manifest and returns the parity with torch at every size.

    Where it does not agree with torch, nothing of the model directory changes. Files of other precisions,
    made from an older model.onnx, leave the manifest: they no longer belong to these weights.
    """
    manifest = load_manifest(model_dir)
    student = load_student(model_dir)
    _check_finite(student, model_dir)
    path = model_dir / MODEL_NAME
    with replacing(path) as temporary:
        export_student(student, temporary)
        check_onnx(temporary, INPUT_PORTS, OUTPUT_PORTS, OPSET)
        _check_rules(temporary, path)
        parities = compare(student, temporary)
        worst_lsb = max(parity.max_lsb for parity in parities)
        if worst_lsb > MAX_DIFFERENCE_LSB:
            raise BackendError(
                f"{path}: differs from torch by {worst_lsb} LSB, expected at most {MAX_DIFFERENCE_LSB}; "
                "nothing was written; use the versions in constraints.txt"
            )
    file = ModelFile(MODEL_NAME, sha256_of(path), OPSET)
    measured = {name: value for name, value in manifest.measured.items() if name not in PRECISIONS}
    measured["fp32"] = {"parity_with_torch": [asdict(parity) for parity in parities]}
    save_manifest(model_dir, replace(manifest, files={"fp32": file}, measured=measured))
    return parities


def _check_rules(written: Path, path: Path) -> None:
    """BackendError where TensorRT would refuse the graph or run it slowly."""
    faults = find_faults(onnx.load(written))
    if faults:
        more = f" and {len(faults) - 1} more" if len(faults) > 1 else ""
        raise BackendError(
            f"{path}: TensorRT would not take it as it is: {faults[0]}{more}; nothing was written; "
            "use the versions in constraints.txt"
        )


def _dla_text(path: Path) -> str:
    """What a deep learning accelerator would leave to the GPU, in a line: irvis runs on the GPU."""
    model = onnx.load(path)
    faults = find_faults(model, DLA_RULES)
    nodes = {fault.node for fault in faults}
    by_rule = ", ".join(f"{rule} {count}" for rule, count in Counter(fault.rule for fault in faults).items())
    return f"DLA: {len(nodes)} of {len(model.graph.node)} operators break its rules ({by_rule or 'none'})\n"


def _check_finite(student: Student, model_dir: Path) -> None:
    """A NaN becomes some byte in torch and in ONNX Runtime alike, so that no comparison finds it."""
    for name, tensor in student.state_dict().items():
        if not tensor.isfinite().all():
            raise ContractError(f"{model_dir}: {name} holds NaN or infinity; train the student again")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
