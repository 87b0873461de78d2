"""`irvis bench`: how fast and how faithful a model is on this machine, over a folder of pairs, to JSON."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from itertools import chain, count
from pathlib import Path

from irvis_runtime.atomic import write_text
from irvis_runtime.backends.choice import BACKENDS
from irvis_runtime.board import board_slug, describe, read_board
from irvis_runtime.cli import Parser, picture_size, whole_number
from irvis_runtime.contract import PRECISIONS
from irvis_runtime.errors import ContractError
from irvis_runtime.output_paths import check_replaceable, check_writable_folder
from irvis_runtime.shipped_models import MODELS, find_model_dir

from .file import Bench, Contender, FidelitySummary, bench_to_json
from .quality import DEFAULT_METRICS
from .run import BenchOptions, run_bench


def main(argv: Sequence[str]) -> int:
    """Measures, writes the bench file and prints the essence of it."""
    options = parse_options(argv)
    bench = run_bench(options)
    write_text(options.output, bench_to_json(bench))
    sys.stdout.write(summary(bench) + f"wrote {options.output}; `irvis report {options.output}` shows it\n")
    return 0


def parse_options(argv: Sequence[str]) -> BenchOptions:
    """The options behind `irvis bench`; ContractError for wrong ones, and for outputs not to be written."""
    arguments = _parser().parse_args(argv)
    output: Path = arguments.output or default_output(arguments.model_dir)
    pictures: Path = arguments.pictures or output.parent / f"{output.stem}_pictures"
    check_replaceable(output)
    if not pictures.resolve().is_relative_to(output.parent.resolve()):
        raise ContractError(
            f"--pictures: expected a folder below {output.parent}, so that it travels with the bench file, "
            f"got {pictures}; name one there"
        )
    if pictures.exists() and not pictures.is_dir():
        raise ContractError(f"--pictures: expected a folder, got the file {pictures}; name a folder")
    check_writable_folder(output.parent)
    check_writable_folder(pictures)
    return BenchOptions(
        model_dir=find_model_dir(arguments.model_dir),
        pairs=arguments.pairs,
        exclude=tuple(arguments.exclude),
        output=output,
        pictures=pictures,
        teacher=arguments.teacher,
        precisions=arguments.precisions,
        width=arguments.size[0],
        height=arguments.size[1],
        repeats=arguments.repeats,
        seconds=arguments.seconds,
        threads=arguments.threads,
        backend=arguments.backend,
        judge=arguments.judge,
        metrics=arguments.metrics,
        picture_count=arguments.picture_count,
        command=shlex.join(["irvis", "bench", *argv]),
    )


def default_output(model: Path | None) -> Path:
    """Where a bench file goes that was given no name; a name that no file has yet.

    `bench/<board>-<mode>-<date>.json` in the model's directory. Of a shipped model, whose directory is part
    of the installed package, `bench/<model>-<board>-<mode>-<date>.json` here.
    """
    model_dir = find_model_dir(model)
    name = f"{board_slug(read_board())}-{datetime.now(timezone.utc).date().isoformat()}"
    if model_dir.resolve().is_relative_to(MODELS.resolve()):
        folder, name = Path("bench"), f"{model_dir.name}-{name}"
    else:
        folder = model_dir / "bench"
    names = chain([name], (f"{name}-{number}" for number in count(2)))
    return next(path for name in names if not (path := folder / f"{name}.json").exists())


def summary(bench: Bench) -> str:
    """The essence of a run as a few lines of text."""
    head = f"{'':<14}{'p50 ms':>9}{'p99 ms':>9}{'x faster':>11}{'dB to teacher':>15}{'dB to fp32':>12}"
    lines = [
        f"{bench.model.name} on {describe(bench.board)}: "
        f"{bench.timing.width} x {bench.timing.height}, {bench.pairs_of.count} pairs",
        head,
        *(_summary_line(contender) for contender in bench.contenders),
    ]
    if bench.load.was_busy:
        lines.append("the machine was busy with other things: trust the ratios, not the times")
    if any(contender.ratio_to_teacher for contender in bench.contenders):
        lines.append("x faster: than the teacher, median over repeats in which all took turns")
    lines += [f"not measured: {sentence}" for sentence in bench.not_measured]
    return "\n".join([*lines, ""])


def _summary_line(contender: Contender) -> str:
    total = contender.latency_ms["total"] if contender.latency_ms else None
    ratio, teacher, fp32 = contender.ratio_to_teacher, contender.to_teacher, contender.to_fp32
    return "".join(
        [
            f"{contender.name:<14}",
            f"{total.p50:>9.2f}{total.p99:>9.2f}" if total else f"{'-':>9}{'-':>9}",
            f"{1.0 / ratio.median:>11.1f}" if ratio else f"{'-':>11}",
            f"{_decibels(teacher):>15}{_decibels(fp32):>12}",
        ]
    )


def _decibels(summary: FidelitySummary | None) -> str:
    if summary is None:
        return "-"
    return "identical" if summary.psnr_db_mean is None else f"{summary.psnr_db_mean:.2f}"


def _parser() -> Parser:
    parser = Parser(prog="irvis bench", description=__doc__)
    parser.add_argument(
        "model_dir", metavar="MODEL_DIR", type=Path, nargs="?", help="default: the shipped model"
    )
    parser.add_argument(
        "--pairs", metavar="DIR", type=Path, required=True, help="folder with ir/ and vis/ in it"
    )
    parser.add_argument(
        "--exclude", metavar="PART", action="append", default=[], help="leave out pairs whose names hold it"
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=Path,
        help="default: MODEL_DIR/bench/<board>-<date>.json, of a shipped model ./bench/<model>-<board>-<date>"
        ".json, with a number behind it rather than over another file",
    )
    parser.add_argument(
        "--teacher", metavar="PATH", type=Path, help="folder of its pictures, its .onnx, or a model directory"
    )
    parser.add_argument(
        "--precisions", metavar="A,B", type=_one_of(PRECISIONS), help="default: all that the backend runs"
    )
    parser.add_argument(
        "--size",
        metavar="WxH",
        type=picture_size,
        default=(640, 480),
        help="size for the speed (default: 640x480)",
    )
    parser.add_argument("--repeats", metavar="N", type=whole_number(1), default=100, help="default: 100")
    parser.add_argument(
        "--seconds", metavar="S", type=_seconds, default=0.0, help="time at least this long (default: 0)"
    )
    parser.add_argument(
        "--threads", metavar="N", type=whole_number(1), help="CPU threads (default: all cores)"
    )
    parser.add_argument("--backend", choices=("auto", *BACKENDS), default="auto")
    _add_judging(parser)
    return parser


def _add_judging(parser: Parser) -> None:
    parser.add_argument(
        "--judge",
        choices=("native", "timed"),
        help="likeness at each pair's own size or at --size (default: native; timed with TensorRT)",
    )
    parser.add_argument(
        "--metrics",
        metavar="A,B",
        type=_list,
        default=DEFAULT_METRICS,
        help=f"default: {','.join(DEFAULT_METRICS)}",
    )
    parser.add_argument(
        "--pictures", metavar="DIR", type=Path, help="where pictures go (default: <output>_pictures)"
    )
    parser.add_argument(
        "--picture-count",
        metavar="K",
        type=whole_number(0),
        default=4,
        help="pairs shown as pictures (default: 4)",
    )


def _list(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _one_of(known: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    def parse(text: str) -> tuple[str, ...]:
        names = _list(text)
        if not names or len(set(names)) < len(names) or not set(names) <= set(known):
            raise argparse.ArgumentTypeError(f"expected some of {','.join(known)}, each once, got {text!r}")
        return names

    return parse


def _seconds(text: str) -> float:
    if not re.fullmatch(r"\d{1,6}(\.\d+)?", text):
        raise argparse.ArgumentTypeError(f"expected seconds, got {text!r}")
    return float(text)
