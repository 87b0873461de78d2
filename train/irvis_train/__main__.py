"""`irvis train`: distils a student, and converts published teachers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from irvis_runtime.cli import Parser
from irvis_runtime.config import describe, load_config

from .config import DistillConfig
from .distill import distil
from .teacher import convert_teacher


def main(argv: Sequence[str]) -> int:
    """Runs `irvis train ...` and returns its exit code."""
    parser = Parser(prog="irvis train", description="Train and convert networks.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="student|convert")
    student = commands.add_parser(
        "student", prog="irvis train student", help="distil a student from its teacher", add_help=False
    )
    student.add_argument("-h", "--help", action="store_true", help="show the configuration's fields")
    student.add_argument("config", nargs="?", type=Path, help="TOML file")
    student.add_argument("overrides", nargs="*", metavar="key=value", help="fields that differ from the file")
    convert = commands.add_parser(
        "convert", prog="irvis train convert", help="write a published teacher checkpoint as safetensors"
    )
    convert.add_argument(
        "checkpoint", type=Path, help="LD-Lite's final.pt, or the folder with LDFusion's Enc_*.pt, Dec_*.pt"
    )
    convert.add_argument("-o", "--output", type=Path, required=True, help="the .safetensors file to write")
    arguments = parser.parse_args(argv)
    if arguments.command == "convert":
        convert_teacher(arguments.checkpoint, arguments.output)
        sys.stdout.write(f"{arguments.output}\n")
        return 0
    if arguments.help:
        sys.stdout.write(
            f"usage: irvis train student [CONFIG.toml] [key=value ...]\n\n{describe(DistillConfig)}\n"
        )
        return 0
    return _train_student(arguments.config, arguments.overrides)


def _train_student(path: Path | None, overrides: Sequence[str]) -> int:
    if path is not None and "=" in str(path) and not path.exists():
        path, overrides = None, [str(path), *overrides]
    model_dir = distil(load_config(DistillConfig, path, overrides))
    sys.stdout.write(f"{model_dir}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
