"""A report as Markdown, for a repository or a pull request: the same tables, pictures by reference."""

from __future__ import annotations

import os
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

from irvis_runtime.bench.file import Bench, PictureSet
from irvis_runtime.model_files.calibration_file import CalibrationFile

from .calibration import Calibrations, choices_text, files_table, layer_tables
from .facts import machine_facts, model_facts, subtitle
from .findings import find
from .html import Benches
from .markup import escape_markdown, printable
from .numbers import title
from .own_files import MADE_AGAIN
from .pictures import difference_text, find_picture, picture_names
from .tables import Cell, Table, comparison_table, headline_table, metrics_table, pairs_table


def markdown_page(
    benches: Benches,
    heading: str,
    command: str,
    folder: Path,
    chart: Path | None = None,
    calibrations: Calibrations = MappingProxyType({}),
) -> str:
    """The whole text; pictures are referred to relative to `folder`, where it will lie.

    `chart`: where the chart of likeness against speed lies, if there is one.
    """
    only = [bench for _, bench in benches.values()]
    parts = [f"# {escape_markdown(heading)}", escape_markdown(subtitle(only))]
    if len(only) > 1:
        parts += [
            "## Side by side",
            _table(comparison_table({text: item for text, (_, item) in benches.items()})),
        ]
    if chart is not None:
        parts += ["## Likeness against speed", _image(chart, folder, "Likeness against speed")]
    for text, (path, bench) in benches.items():
        if len(only) > 1:
            parts += [f"## {escape_markdown(text)}", escape_markdown(subtitle([bench]))]
        parts += _section(path, bench, folder)
    for text, (path, calibration) in calibrations.items():
        parts += _calibration(text, path, calibration, folder)
    made = [*(b.command for b in only), *(found.command for _, found in calibrations.values()), command]
    commands = "\n".join(printable(line).replace("```", "` ` `") for line in made)
    parts += [f"### {MADE_AGAIN}", f"```sh\n{commands}\n```"]
    return "\n\n".join(part for part in parts if part) + "\n"


def _section(path: Path, bench: Bench, folder: Path) -> list[str]:
    found = find(bench)
    return [
        *_sentences("Wins", found.wins),
        *_sentences("Losses", found.losses),
        *_sentences("How far to trust it", found.limits),
        "### Speed and likeness",
        _table(headline_table(bench)),
        "### Fusion metrics",
        _table(metrics_table(bench)),
        *_pictures(path, bench, folder),
        *_sentences("Not measured", bench.not_measured),
        "### Machine",
        _table(machine_facts(bench)),
        "### Model, teacher and pictures",
        _table(model_facts(bench)),
        "### Every pair",
        _table(pairs_table(bench)),
    ]


def _calibration(heading: str, path: Path, calibration: CalibrationFile, folder: Path) -> list[str]:
    parts = [f"## {escape_markdown(heading)}", _table(files_table(calibration))]
    if choices := choices_text(calibration):
        parts.append(escape_markdown(choices))
    for text, table, _ in layer_tables(calibration):
        parts += [f"### {escape_markdown(text)}", _table(table)]
    sets = [_picture_set(path, pictures, folder) for pictures in calibration.pictures]
    return [*parts, *(["### What suffered most", *sets] if sets else [])]


def _sentences(heading: str, sentences: tuple[str, ...]) -> list[str]:
    return [f"### {heading}", "\n".join(f"- {escape_markdown(text)}" for text in sentences) or "None."]


def _table(table: Table) -> str:
    head = table.head or ("", "")
    aligned = ["---" if not table.head or index == 0 else "---:" for index in range(len(head))]
    lines = [
        _line([escape_markdown(text) for text in head]),
        _line(aligned),
        *(_line([_cell(cell) for cell in row]) for row in table.rows),
    ]
    notes = [f"- {escape_markdown(note)}" for note in table.notes]
    return "\n\n".join(filter(None, [escape_markdown(table.caption), "\n".join(lines), "\n".join(notes)]))


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cell: Cell) -> str:
    text = escape_markdown(cell.text)
    return f"**{text}**" if cell.kind == "best" else text


def _pictures(path: Path, bench: Bench, folder: Path) -> list[str]:
    sets = [_picture_set(path, pictures, folder) for pictures in bench.pictures]
    return ["### Pictures", *sets] if sets else []


def _picture_set(path: Path, pictures: PictureSet, folder: Path) -> str:
    heads, cells = [], []
    for name in picture_names(pictures):
        heads.append(difference_text(pictures) if name == "difference" else title(name))
        picture = find_picture(path, pictures.files[name])
        cells.append(_image(picture, folder, heads[-1]) if picture else "not found")
    lines = [_line([escape_markdown(text) for text in heads]), _line(["---"] * len(heads)), _line(cells)]
    table = "\n".join(lines)
    return f"**{escape_markdown(pictures.pair)}**: {escape_markdown(pictures.why)}\n\n{table}"


def _image(picture: Path, folder: Path, text: str) -> str:
    relative = Path(os.path.relpath(picture, folder)).as_posix()
    return f"![{escape_markdown(text)}]({quote(relative, errors='surrogateescape')})"
