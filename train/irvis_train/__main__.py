"""`irvis train`: a domain CLIP, a teacher by language, a student; converts and compares teachers."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from irvis_runtime.cli import Parser
from irvis_runtime.config import describe, load_config

from .clip_config import ClipTrainingConfig
from .clip_training import train_clip
from .config import DistillConfig
from .distill import distil
from .steering import add_steer_arguments, run_steer
from .teacher import convert_teacher
from .teacher_config import TeacherConfig
from .teacher_training import train_teacher


def main(argv: Sequence[str]) -> int:
    """Runs `irvis train ...` and returns its exit code."""
    parser = Parser(prog="irvis train", description="Train, compare and convert networks.")
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="clip|teacher|student|steer|convert"
    )
    _add_training(commands, "clip", "train a small CLIP of this domain", ClipTrainingConfig, train_clip)
    _add_training(commands, "teacher", "train a teacher by language", TeacherConfig, train_teacher)
    _add_training(commands, "student", "distil a student from its teacher", DistillConfig, distil)
    steer = commands.add_parser(
        "steer", prog="irvis train steer", help="measure what texts made of several teachers"
    )
    add_steer_arguments(steer)
    steer.set_defaults(run=run_steer)
    convert = commands.add_parser(
        "convert", prog="irvis train convert", help="write a published teacher checkpoint as safetensors"
    )
    convert.add_argument(
        "checkpoint", type=Path, help="LD-Lite's final.pt, or the folder with LDFusion's Enc_*.pt, Dec_*.pt"
    )
    convert.add_argument("-o", "--output", type=Path, required=True, help="the .safetensors file to write")
    convert.set_defaults(run=_convert)
    arguments = parser.parse_args(argv)
    sys.stdout.write(f"{arguments.run(arguments)}\n")
    return 0


def _add_training(
    commands: Any, name: str, purpose: str, config: type[Any], train: Callable[[Any], Path]
) -> None:
    parser = commands.add_parser(name, prog=f"irvis train {name}", help=purpose, add_help=False)
    parser.add_argument("-h", "--help", action="store_true", help="show the configuration's fields")
    parser.add_argument("config", nargs="?", type=Path, help="TOML file")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="fields that differ from the file")

    def run(arguments: argparse.Namespace) -> object:
        if arguments.help:
            return f"usage: irvis train {name} [CONFIG.toml] [key=value ...]\n\n{describe(config)}"
        path, overrides = arguments.config, arguments.overrides
        if path is not None and "=" in str(path) and not path.exists():
            path, overrides = None, [str(path), *overrides]
        return train(load_config(config, path, overrides))

    parser.set_defaults(run=run)


def _convert(arguments: argparse.Namespace) -> Path:
    output: Path = arguments.output
    convert_teacher(arguments.checkpoint, output)
    return output


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
