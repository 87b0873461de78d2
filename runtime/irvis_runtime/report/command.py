"""`irvis report`: one HTML page and one Markdown file from bench files."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from irvis_runtime.atomic import write_text
from irvis_runtime.bench.file import Bench, load_bench
from irvis_runtime.board import describe
from irvis_runtime.cli import Parser
from irvis_runtime.errors import ContractError

from .calibration import find_calibrations
from .html import Benches, html_page
from .markdown import markdown_page
from .own_files import check_replaceable_report
from .pareto import find_points, is_wanted, pareto_chart


def main(argv: Sequence[str]) -> int:
    """Reads the bench files and writes the report."""
    parser = Parser(prog="irvis report", description=__doc__)
    parser.add_argument(
        "benches", metavar="BENCH.json", type=Path, nargs="+", help="what `irvis bench` wrote"
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE.html",
        type=Path,
        default=Path("report.html"),
        help="default: report.html",
    )
    parser.add_argument(
        "--calibration",
        metavar="CALIBRATION.json",
        type=Path,
        action="append",
        default=[],
        help="what `irvis quantize` wrote; of a bench in a model directory it is found; may be repeated",
    )
    arguments = parser.parse_args(argv)
    command = shlex.join(["irvis", "report", *argv])
    written = write_report(arguments.benches, arguments.output, command, arguments.calibration)
    sys.stdout.write("".join(f"wrote {path}\n" for path in written))
    return 0


def write_report(
    bench_paths: Sequence[Path], output: Path, command: str, calibration_paths: Sequence[Path] = ()
) -> tuple[Path, ...]:
    """Writes `output`, the Markdown file and, of several models, the chart beside it; returns their paths.

    ContractError, and nothing is written, where one of them is a file that is no report.
    """
    if output.suffix.lower() not in (".html", ".htm"):
        raise ContractError(f"{output}: expected an output that ends in .html; the Markdown goes beside it")
    benches = name_benches([(path, load_bench(path)) for path in bench_paths])
    heading = find_heading(benches)
    only = [bench for _, bench in benches.values()]
    chart = output.with_name(f"{output.stem}_pareto.svg") if is_wanted(only) else None
    calibrations = find_calibrations(list(benches.values()), calibration_paths)
    markdown = output.with_suffix(".md")
    for path in (output, markdown, *([chart] if chart is not None else [])):
        check_replaceable_report(path)
    page = html_page(benches, heading, command, calibrations)
    text = markdown_page(benches, heading, command, output.parent, chart, calibrations)
    write_text(output, page)
    write_text(markdown, text)
    if chart is None:
        return output, markdown
    write_text(chart, f"{pareto_chart(find_points(only))}\n")
    return output, markdown, chart


def name_benches(benches: Sequence[tuple[Path, Bench]]) -> Benches:
    """A heading for each: the machine, then what tells equal machines apart (model, date, file)."""
    names = [describe(bench.board) for _, bench in benches]
    for detail in (lambda _, bench: bench.model.name, lambda _, bench: bench.date, lambda path, _: str(path)):
        names = [
            f"{name}, {detail(path, bench)}" if names.count(name) > 1 else name
            for name, (path, bench) in zip(names, benches, strict=True)
        ]
    if len(set(names)) < len(names):
        raise ContractError("expected each bench file once, got one twice; name it once")
    return dict(zip(names, benches, strict=True))


def find_heading(benches: Benches) -> str:
    """The title of the report."""
    models = sorted({bench.model.name for _, bench in benches.values()})
    where = next(iter(benches)) if len(benches) == 1 else f"{len(benches)} measurements"
    return f"{', '.join(models)} on {where}"
