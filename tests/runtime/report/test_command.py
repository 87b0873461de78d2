from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from irvis_runtime.__main__ import main as irvis
from irvis_runtime.bench.file import (
    Bench,
    Model,
    Pairs,
)
from irvis_runtime.errors import ContractError
from irvis_runtime.image import write_picture
from irvis_runtime.report.command import write_report
from irvis_runtime.report.numbers import TIMES

from .benches import DESKTOP, EVIL, ORIN, make_bench, write_bench

VOID = {"br", "img", "meta", "rect", "line", "link", "hr", "input"}


class Page(HTMLParser):
    """Collects a page's elements and refuses tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def named(self, tag: str) -> Iterator[dict[str, str | None]]:
        return (attributes for name, attributes in self.tags if name == tag)


def report(folder: Path, *benches: Bench) -> tuple[Page, str]:
    paths = [write_bench(folder / str(number), bench) for number, bench in enumerate(benches)]
    page, markdown = write_report(paths, folder / "report.html", "irvis report ...")
    return Page(page.read_text()), markdown.read_text()


def test_a_page_needs_nothing_but_itself(tmp_path: Path) -> None:
    page, _ = report(tmp_path, make_bench())
    assert not list(page.named("script"))
    assert not list(page.named("link"))
    sources = [attributes["src"] for attributes in page.named("img")]
    assert len(sources) == 3
    for source in sources:
        assert source is not None
        assert source.startswith("data:image/jpeg;base64,")
    written = (tmp_path / "report.html").read_text()
    assert not re.search(r"https?://|@import|url\(", written)


def test_pictures_are_scaled_to_640_pixels(tmp_path: Path) -> None:
    page, _ = report(tmp_path, make_bench())
    source = next(page.named("img"))["src"]
    assert source is not None
    jpeg = base64.b64decode(source.partition(",")[2])
    # The start-of-frame segment holds height and width (ITU-T T.81, B.2.2).
    at = jpeg.index(b"\xff\xc0") + 5
    height, width = int.from_bytes(jpeg[at : at + 2], "big"), int.from_bytes(jpeg[at + 2 : at + 4], "big")
    assert (width, height) == (640, 38)


def test_a_page_tells_numbers_machine_and_command(tmp_path: Path) -> None:
    page, markdown = report(tmp_path, make_bench())
    shown = " ".join(page.text)
    for text in (
        "irvis-x on Example CPU, 4 cores",
        f"12.5{TIMES} faster",
        f"5.0{TIMES} slower",
        f"INT8 minus FP32, 8{TIMES} around mid grey",
        "power and energy: no rails",
        "irvis bench --pairs 'set/1'",
        "irvis report ...",
        "50.5 °C (cpu-thermal)",
        "3" * 64,
    ):
        assert text in shown
    assert f"| 16.0 | 17.6 | 19.2 | 12.5{TIMES} faster | 2.5{TIMES} faster | 25.00 | 20.00 |" in markdown


def test_what_was_not_measured_is_said_in_its_cell(tmp_path: Path) -> None:
    bench = make_bench()
    untimed = tuple(
        replace(item, latency_ms=None, ratio_to_teacher=None, ratio_to_fp32=None) for item in bench.contenders
    )
    page, markdown = report(tmp_path, replace(bench, contenders=untimed))
    assert " ".join(page.text).count("not measured") > 10
    assert "| INT8 | not measured | not measured | not measured |" in markdown


def test_names_from_files_never_become_markup(tmp_path: Path) -> None:
    bench = make_bench(replace(DESKTOP, cpu=EVIL), pair=EVIL + "\n\x00\udc80")
    page, markdown = report(tmp_path, bench)
    assert all(attributes["src"] != "x" for attributes in page.named("img"))
    assert not any(key.startswith("on") for _, attributes in page.tags for key in attributes)
    assert EVIL in " ".join(page.text)
    fenced = markdown.index("```sh")
    assert "<img" not in markdown[:fenced]
    assert not re.search(r"(?<!\\)\]\(javascript", markdown[:fenced])


def test_two_boards_stand_side_by_side(tmp_path: Path) -> None:
    page, markdown = report(tmp_path, make_bench(), make_bench(ORIN))
    assert "irvis-x on 2 measurements" in page.text
    targets = {attributes["href"] for attributes in page.named("a")}
    assert targets == {f"#{attributes['id']}" for attributes in page.named("h2")}
    assert "|  | Example CPU, 4 cores | Jetson Orin Nano, 15W |" in markdown
    assert "36.4.3" in markdown


def test_two_runs_on_one_board_are_told_apart(tmp_path: Path) -> None:
    _, markdown = report(tmp_path, make_bench(), replace(make_bench(), date="2026-02-02T00:00:00Z"))
    assert "Example CPU, 4 cores, irvis-x, 2026-02-02" in markdown


def test_boards_that_cannot_be_compared_say_so(tmp_path: Path) -> None:
    bench = make_bench()
    other = replace(
        make_bench(ORIN),
        timing=replace(bench.timing, width=320),
        pairs_of=Pairs("others", 2, "4" * 64),
        model=Model("irvis-x", {"fp32": "9" * 64}, {}),
    )
    _, markdown = report(tmp_path, bench, other)
    for text in ("different sizes", "different pictures", "different models"):
        assert text in markdown


def test_several_models_make_a_chart(tmp_path: Path) -> None:
    other = replace(make_bench(), model=Model("irvis-y", {"fp32": "9" * 64}, {}))
    paths = [write_bench(tmp_path / name, bench) for name, bench in (("x", make_bench()), ("y", other))]
    page, markdown, chart = write_report(paths, tmp_path / "r.html", "irvis report")
    assert len(list(Page(page.read_text()).named("circle"))) == 4
    assert f"]({chart.name})" in markdown.read_text()
    assert "irvis-y INT8" in chart.read_text()


def test_models_measured_apart_make_no_chart(tmp_path: Path) -> None:
    other = replace(make_bench(ORIN), model=Model("irvis-y", {"fp32": "9" * 64}, {}))
    paths = [write_bench(tmp_path / name, bench) for name, bench in (("x", make_bench()), ("y", other))]
    assert len(write_report(paths, tmp_path / "r.html", "irvis report")) == 2


def test_a_bench_file_that_came_alone_still_makes_a_report(tmp_path: Path) -> None:
    path = write_bench(tmp_path, make_bench(), has_pictures=False)
    page, markdown = write_report([path], tmp_path / "r.html", "irvis report")
    assert "not found: p/01_int8.png" in page.read_text()
    assert "not found" in markdown.read_text()


@pytest.mark.parametrize("name", ["../secret.png", "/etc/secret.png", "p/../../secret.png"])
def test_pictures_outside_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    bench = make_bench()
    pictures = replace(bench.pictures[0], files={"int8": name})
    path = write_bench(tmp_path / "in", replace(bench, pictures=(pictures,)), has_pictures=False)
    write_picture(tmp_path / "secret.png", np.zeros((16, 16), np.uint8))
    with pytest.raises(ContractError, match="below the bench file's folder"):
        write_report([path], tmp_path / "r.html", "irvis report")
    assert not (tmp_path / "r.html").exists()


def test_markdown_refers_to_pictures_from_where_it_lies(tmp_path: Path) -> None:
    path = write_bench(tmp_path / "bench one", make_bench())
    _, markdown = write_report([path], tmp_path / "docs" / "r.html", "irvis report")
    (found,) = re.findall(r"!\[INT8\]\((.*?)\)", markdown.read_text())
    assert found == "../bench%20one/p/01_int8.png"


def test_the_command_writes_both_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_bench(tmp_path, make_bench())
    assert irvis(["report", str(path), "-o", str(tmp_path / "out.html")]) == 0
    assert capsys.readouterr().out.count("wrote") == 2
    assert (tmp_path / "out.md").is_file()
    assert f"irvis report {path}" in (tmp_path / "out.html").read_text()
    assert irvis(["report", str(path), "-o", str(tmp_path / "out.pdf")]) == 2
    assert irvis(["report", str(path), str(path), "-o", str(tmp_path / "out.html")]) == 2
    assert irvis(["report", str(tmp_path / "none.json")]) == 2
