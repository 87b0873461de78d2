"""`irvis quantize`: model.onnx -> model.int8.onnx and model.fp16.onnx, judged by the teacher."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import onnx

from irvis_runtime.atomic import write_text
from irvis_runtime.board import has_fast_int8
from irvis_runtime.cli import Parser
from irvis_runtime.contract import checked_model_path, load_manifest
from irvis_runtime.errors import ContractError

from . import stock
from .examples import Example, read_examples, split
from .gate import Fidelity, Limits
from .run import (
    AIM_DROP_DB,
    DEFAULT,
    FILES,
    MOST_MOVED,
    Options,
    load_float_model,
    names_of,
    quantize_model_dir,
)


def main(argv: Sequence[str]) -> int:
    """Runs `irvis quantize ...` and returns its exit code: 1 where a precision did not pass the gate."""
    arguments = _parser().parse_args(argv)
    limits = Limits(arguments.max_drop_db, arguments.min_mean_agreement_db, arguments.min_agreement_db)
    command = shlex.join(["irvis", "quantize", *argv])
    precisions = names_of([name.strip() for name in arguments.precisions.split(",")])
    options = Options(
        precisions, arguments.aim_drop_db, _at_least_0(arguments.most_moved), arguments.pictures, command
    )
    # Before the teacher works for minutes.
    load_float_model(arguments.model_dir)
    examples = read_examples(arguments.pairs, arguments.teacher, arguments.count, tuple(arguments.exclude))
    if arguments.compare_only:
        _write_json(
            arguments.json, {"command": command, "comparison": _compare(arguments.model_dir, examples)}
        )
        return 0
    results = quantize_model_dir(arguments.model_dir, examples, limits, options)
    told: dict[str, object] = {name: asdict(found) for name, found in results.items()}
    if arguments.compare:
        told["comparison"] = _compare(arguments.model_dir, examples)
    _write_json(arguments.json, told)
    if "int8" in precisions and not has_fast_int8():
        _warn_of_slow_int8(arguments.model_dir, examples[0])
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
        help=f"of {', '.join(FILES)} (default: {', '.join(DEFAULT)})",
    )
    drop = f"PSNR to the teacher that may be lost, in dB (default {Limits.max_drop_db})"
    add("--max-drop-db", type=float, default=Limits.max_drop_db, help=drop)
    mean = (
        f"PSNR to FP32 that the pairs must keep in the mean, in dB (default {Limits.min_mean_agreement_db})"
    )
    add("--min-mean-agreement-db", type=float, default=Limits.min_mean_agreement_db, help=mean)
    agreement = f"PSNR to FP32 that the worst pair must keep, in dB (default {Limits.min_agreement_db})"
    add("--min-agreement-db", type=float, default=Limits.min_agreement_db, help=agreement)
    aim = f"PSNR to the teacher, in dB, for more than which layers are left in floats (default {AIM_DROP_DB})"
    add("--aim-drop-db", type=float, default=AIM_DROP_DB, help=aim)
    moved = f"layers that may stay floats in an INT8 file (default {MOST_MOVED})"
    add("--most-moved", type=int, default=MOST_MOVED, help=moved)
    add("--pictures", action="store_true", help="write the pairs that suffered most, for `irvis report`")
    add("--compare", action="store_true", help="also print what ONNX Runtime's own quantizer makes of it")
    only = "print that comparison of the INT8 file that is there, and make no files"
    add("--compare-only", action="store_true", help=only)
    add("--json", type=Path, help="write what was measured to this file too")
    return parser


def _write_json(path: Path | None, told: dict[str, object]) -> None:
    if path is not None:
        write_text(path, json.dumps(told, indent=2, allow_nan=False) + "\n")


def _at_least_0(most_moved: int) -> int:
    if most_moved < 0:
        raise ContractError(f"--most-moved: expected 0 or more, got {most_moved}; correct it")
    return most_moved


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


def _warn_of_slow_int8(model_dir: Path, example: Example) -> None:
    """Measures what INT8 costs where no instruction multiplies and adds bytes; older x86 saturates too."""
    manifest = load_manifest(model_dir)
    if "int8" not in manifest.files:
        return
    graphs = {name: onnx.load(checked_model_path(model_dir, manifest, name)) for name in ("fp32", "int8")}
    times_ms = stock.times_ms(graphs, example)
    sys.stderr.write(
        f"irvis: this CPU has no dot products of bytes (VNNI, dotprod): INT8 takes "
        f"{times_ms['int8'] / times_ms['fp32']:.2f} of FP32's time here, so that `auto` takes FP32\n"
    )


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
