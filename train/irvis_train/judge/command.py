"""`irvis judge`: models beside the published student, figure by figure, against limits."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from irvis_runtime.atomic import write_text
from irvis_runtime.bench.fields import to_json
from irvis_runtime.cli import Parser
from irvis_runtime.config import describe, load_config
from irvis_runtime.contract import PRECISIONS
from irvis_runtime.report.pareto import pareto_chart

from .judged import Judged, Limits, Verdict
from .page import page
from .run import FIGURES, JudgeOptions, run_judge
from .verdict import find_verdicts


@dataclass(frozen=True)
class Report:
    """The content of judged.json."""

    judged: Judged
    verdicts: tuple[Verdict, ...]


def main(argv: Sequence[str]) -> int:
    """Judges, writes the report and prints the verdict; 1 where a limit is not kept."""
    options = parse_options(argv)
    judged = run_judge(options)
    verdicts = find_verdicts(judged)
    write_report(options.output, judged, verdicts)
    sys.stdout.write("".join(f"{_line(verdict)}\n" for verdict in verdicts))
    sys.stdout.write(f"wrote {options.output / 'judged.md'}\n")
    return 0 if all(verdict.passed for verdict in verdicts) else 1


def write_report(folder: Path, judged: Judged, verdicts: Sequence[Verdict]) -> None:
    """Writes judged.json, judged.md and, of bench files, pareto.svg."""
    pictures = sorted(folder.glob("*.png"))
    if judged.speed:
        chart = folder / "pareto.svg"
        write_text(chart, f"{pareto_chart(judged.speed)}\n")
        pictures.append(chart)
    write_text(folder / "judged.json", to_json(Report(judged, tuple(verdicts))))
    write_text(folder / "judged.md", page(judged, verdicts, pictures))


def parse_options(argv: Sequence[str]) -> JudgeOptions:
    """The options behind `irvis judge`; ContractError for wrong ones."""
    arguments = _parser().parse_args(argv)
    return JudgeOptions(
        model_dirs=tuple(arguments.model_dirs),
        teacher=arguments.teacher,
        val=arguments.val,
        output=arguments.output,
        clips=arguments.clips,
        benchmark=arguments.benchmark,
        fused=arguments.fused,
        benches=tuple(arguments.bench),
        precisions=arguments.precisions,
        figures=arguments.figures,
        exclude=tuple(arguments.exclude),
        limits=load_config(Limits, None, arguments.limit),
        cache=arguments.cache,
        threads=arguments.threads,
        longest_side_px=arguments.longest_side,
        static_pairs=arguments.static_pairs,
        noise_sigma=arguments.noise_sigma,
        noise_frames=arguments.noise_frames,
        clip_frames=arguments.clip_frames,
        patch_pairs=arguments.patch_pairs,
        context_s=arguments.context_seconds,
        tile_pairs=arguments.tile_pairs,
        robust_pairs=arguments.robust_pairs,
        severities=arguments.severities,
        command=shlex.join(["irvis", "judge", *argv]),
    )


def _line(verdict: Verdict) -> str:
    mark = "kept    " if verdict.passed else "NOT KEPT"
    note = f"  ({verdict.note})" if verdict.note else ""
    return f"{mark} {verdict.model}: {verdict.figure}: {verdict.found:.3f}, limit {verdict.limit:.3f}{note}"


def _parser() -> Parser:
    parser = Parser(
        prog="irvis judge",
        description=__doc__,
        epilog=f"limits:\n{describe(Limits)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("model_dirs", metavar="MODEL_DIR", type=Path, nargs="+", help="a directory with manifest.json")
    add("--teacher", metavar="PATH", type=Path, required=True, help="the published checkpoint")
    add(
        "--val",
        metavar="DIR",
        type=Path,
        required=True,
        help="pairs to judge on, without clips/",
    )
    add("--clips", metavar="DIR", type=Path, help="clips: folders with ir/ and vis/, a frame a file")
    add("--benchmark", metavar="DIR", type=Path, help="sets of pairs for the metrics alone")
    add("--fused", metavar="DIR", type=Path, help="published fused pictures: <set>/<method>/<name>.png")
    add("--bench", metavar="FILE", type=Path, action="append", default=[], help="what `irvis bench` wrote")
    add("-o", "--output", metavar="FOLDER", type=Path, required=True, help="judged.json, judged.md, pictures")
    _add_amounts(parser)
    return parser


def _add_amounts(parser: Parser) -> None:
    defaults, add = JudgeOptions((), Path(), Path(), Path()), parser.add_argument
    add("--precisions", metavar="A,B", type=_some_of(("auto", *PRECISIONS)), default=defaults.precisions)
    add("--figures", metavar="A,B", type=_some_of(FIGURES), default=FIGURES, help=f"of {','.join(FIGURES)}")
    add("--exclude", metavar="PART", action="append", default=[], help="leave out pairs whose names hold it")
    add("--limit", metavar="KEY=VALUE", action="append", default=[], help="another limit, see below")
    add("--cache", metavar="DIR", type=Path, default=defaults.cache, help="the teacher's pictures")
    add("--threads", metavar="N", type=_positive, help="CPU threads (default: all cores)")
    add("--longest-side", metavar="PX", type=_positive, default=defaults.longest_side_px)
    add("--static-pairs", metavar="N", type=_positive, default=defaults.static_pairs)
    add("--noise-sigma", metavar="LEVELS", type=_number, default=defaults.noise_sigma)
    add("--noise-frames", metavar="N", type=_several, default=defaults.noise_frames)
    add("--clip-frames", metavar="N", type=_several, default=defaults.clip_frames)
    add("--patch-pairs", metavar="N", type=_positive, default=defaults.patch_pairs)
    add("--context-seconds", metavar="S", type=_number, help="time constant (default: the runtime's)")
    add("--tile-pairs", metavar="N", type=_positive, default=defaults.tile_pairs)
    add("--robust-pairs", metavar="N", type=_positive, default=defaults.robust_pairs)
    add("--severities", metavar="A,B", type=_severities, default=defaults.severities, help="0 to 1 each")


def _some_of(known: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    def parse(text: str) -> tuple[str, ...]:
        names = tuple(name.strip() for name in text.split(",") if name.strip())
        if not names or len(set(names)) < len(names) or not set(names) <= set(known):
            raise argparse.ArgumentTypeError(f"expected some of {','.join(known)}, each once, got {text!r}")
        return names

    return parse


def _severities(text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not values or not all(0.0 < value <= 1.0 for value in values):
        raise argparse.ArgumentTypeError(f"expected numbers above 0 up to 1, such as 0.4,0.8, got {text!r}")
    return values


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value < 1e4:
        raise argparse.ArgumentTypeError(f"expected a number from 0 up, got {text!r}")
    return value


def _positive(text: str) -> int:
    return _whole(text, 1)


def _several(text: str) -> int:
    return _whole(text, 3)


def _whole(text: str, low: int) -> int:
    if not (text.isdecimal() and text.isascii()) or not low <= int(text) < 10**6:
        raise argparse.ArgumentTypeError(f"expected a whole number from {low} up, got {text!r}")
    return int(text)
