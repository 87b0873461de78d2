"""A report as one HTML page that needs nothing else: no script, no network, pictures inside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

from irvis_runtime.bench.file import Bench, PictureSet
from irvis_runtime.model_files.calibration_file import CalibrationFile

from .calibration import Calibrations, choices_text, files_table, layer_tables
from .calibration import score_text as score_by_calibration
from .chart import latency_chart
from .facts import machine_facts, model_facts, subtitle
from .findings import find
from .markup import Html, element, join
from .numbers import Card, cards, title
from .own_files import MADE_AGAIN
from .pareto import find_points, is_wanted, pareto_chart
from .pictures import data_uri, difference_text, find_picture, picture_names, score_text
from .style import STYLE
from .tables import Table, comparison_table, headline_table, metrics_table, pairs_table

Benches = Mapping[str, tuple[Path, Bench]]
"""Heading -> bench file and its content."""


def html_page(
    benches: Benches, heading: str, command: str, calibrations: Calibrations = MappingProxyType({})
) -> str:
    """The whole page; `command` is what made the report."""
    only = [bench for _, bench in benches.values()]
    is_comparison = len(only) > 1
    body = [element("h1", heading), element("p", subtitle(only), class_="lead")]
    if is_comparison:
        links = [element("li", element("a", text, href=f"#bench-{n}")) for n, text in enumerate(benches, 1)]
        body += [
            element("nav", element("ul", *links), aria_label="Machines"),
            element("h3", "Side by side"),
            _table(comparison_table({text: bench for text, (_, bench) in benches.items()})),
        ]
        if is_wanted(only):
            body += [element("h3", "Likeness against speed"), pareto_chart(find_points(only))]
    for number, (text, (path, bench)) in enumerate(benches.items(), 1):
        if is_comparison:
            body += [
                element("h2", text, id=f"bench-{number}"),
                element("p", subtitle([bench]), class_="lead"),
            ]
        body.append(_section(path, bench))
    for text, (path, calibration) in calibrations.items():
        body.append(_calibration(text, path, calibration))
    commands = [*(bench.command for bench in only), *(found.command for _, found in calibrations.values())]
    body += _regenerate(commands, command)
    return _document(heading, join(*body))


def _document(heading: str, body: Html) -> str:
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", heading),
        element("style", Html(STYLE)),
    )
    page = element("html", head, element("body", element("main", body)), lang="en")
    return f"<!DOCTYPE html>\n{page}\n"


def _section(path: Path, bench: Bench) -> Html:
    return join(
        element("div", *(_card(card) for card in cards(bench)), class_="cards"),
        _findings(bench),
        element("h3", "Speed and likeness"),
        _table(headline_table(bench)),
        element("h3", "Time by stage"),
        latency_chart(bench),
        element("h3", "Fusion metrics"),
        _table(metrics_table(bench)),
        *_pictures(path, bench),
        element("h3", "Not measured"),
        element("ul", *(element("li", text) for text in bench.not_measured)),
        element("h3", "Machine"),
        _facts(machine_facts(bench)),
        element("h3", "Model, teacher and pictures"),
        _facts(model_facts(bench)),
        element("h3", "Every pair"),
        _table(pairs_table(bench)),
    )


def _card(card: Card) -> Html:
    return element("div", element("b", card.value), element("span", card.text), class_="card")


def _findings(bench: Bench) -> Html:
    found = find(bench)
    columns = []
    for kind, heading, sentences in (
        ("wins", "Wins", found.wins),
        ("losses", "Losses", found.losses),
        ("limits", "How far to trust it", found.limits),
    ):
        items = (
            element("ul", *(element("li", text) for text in sentences))
            if sentences
            else element("p", "None.")
        )
        columns.append(element("section", element("h3", heading), items, class_=kind))
    return element("div", *columns, class_="findings")


def _table(table: Table) -> Html:
    head = element("thead", element("tr", *(element("th", text, scope="col") for text in table.head)))
    rows = [
        element("tr", *(element("td", cell.text, class_=cell.kind) for cell in row)) for row in table.rows
    ]
    caption = element("p", table.caption, class_="soft")
    whole = element("table", head, element("tbody", *rows))
    notes = element("ul", *(element("li", note) for note in table.notes), class_="notes")
    return join(caption, element("div", whole, class_="scroll"), notes if table.notes else "")


def _facts(table: Table) -> Html:
    rows = [element("tr", *(element("td", cell.text) for cell in row)) for row in table.rows]
    return element("table", element("tbody", *rows), class_="facts")


def _calibration(heading: str, path: Path, calibration: CalibrationFile) -> Html:
    parts = [element("h2", heading), _table(files_table(calibration))]
    if choices := choices_text(calibration):
        parts.append(element("p", choices))
    for text, table, bars in layer_tables(calibration):
        parts += [element("h3", text), bars, _table(table)]
    if calibration.pictures:
        parts.append(element("h3", "What suffered most"))
    for pictures in calibration.pictures:
        parts.append(_picture_set(path, pictures, partial(score_by_calibration, calibration)))
    return join(*parts)


def _pictures(path: Path, bench: Bench) -> list[Html]:
    if not bench.pictures:
        return []
    sets = [
        _picture_set(path, pictures, partial(score_text, bench, pictures.pair)) for pictures in bench.pictures
    ]
    return [element("h3", "Pictures"), *sets]


def _picture_set(path: Path, pictures: PictureSet, score: Callable[[str], str]) -> Html:
    """`score`: what is said of a picture by its name."""
    figures = [_figure(path, pictures, name, score(name)) for name in picture_names(pictures)]
    return element(
        "section",
        element("h4", pictures.pair),
        element("p", pictures.why, class_="soft"),
        element("div", *figures, class_="grid"),
        class_="set",
    )


def _figure(path: Path, pictures: PictureSet, name: str, score: str) -> Html:
    picture = find_picture(path, pictures.files[name])
    called = difference_text(pictures) if name == "difference" else title(name)
    if picture is None:
        shown = element("div", f"not found: {pictures.files[name]}", class_="absent")
    else:
        shown = element("img", src=data_uri(picture), alt=f"{called} of {pictures.pair}", loading="lazy")
    caption = element("figcaption", element("b", called), score)
    return element("figure", shown, caption)


def _regenerate(commands: list[str], command: str) -> list[Html]:
    return [
        element("h3", MADE_AGAIN),
        element("pre", join(*(join(line, Html("\n")) for line in [*commands, command]))),
        element("footer", "Cells that say “not measured” were not; nothing on this page is estimated."),
    ]
