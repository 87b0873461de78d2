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
    Contender,
    Fidelity,
    FidelitySummary,
    Load,
    MachineState,
    Model,
    PairRow,
    Pairs,
    Percentiles,
    PictureSet,
    Ratio,
    Score,
    Teacher,
    Timing,
    bench_to_json,
)
from irvis_runtime.board import Board, Jetson
from irvis_runtime.errors import ContractError
from irvis_runtime.image import write_picture
from irvis_runtime.report.command import write_report
from irvis_runtime.report.findings import find
from irvis_runtime.report.numbers import TIMES
from irvis_runtime.targets import Engine

EVIL = "<img src=x onerror=alert(1)>|`\"&'*_[a](javascript:b)"
VOID = {"br", "img", "meta", "rect", "line", "link", "hr", "input"}
DESKTOP = Board("x86_64", "Example CPU", 4, ("avx2",), False, 8000, "6.1", "3.11.2", None, {"numpy": "2.0"})
ORIN = replace(DESKTOP, cpu="Cortex-A78AE", jetson=Jetson("NVIDIA Jetson Orin Nano", "36.4.3", 0, "15W"))
# Invented: EN and SSIM, so that INT8 is ahead of both baselines in one and behind one of them in the other.
METRICS = {
    "teacher": (7.0, 1.0),
    "fp32": (6.9, 1.1),
    "int8": (6.8, 1.0),
    "average": (6.0, 1.4),
    "maximum": (6.5, 0.9),
}


def latency(total_ms: float, stages: tuple[str, ...] = ("context", "fuse")) -> dict[str, Percentiles]:
    parts = {stage: total_ms / len(stages) for stage in stages} | {"total": total_ms}
    return {stage: Percentiles(value, value * 1.1, value * 1.2, value, 200) for stage, value in parts.items()}


def likeness(mean_db: float, worst_db: float, pair: str) -> FidelitySummary:
    return FidelitySummary(mean_db, worst_db, pair, 0.9, 0.8, 40, 9, 2, 0)


def contender(name: str, pair: str) -> Contender:
    engine = Engine("onnxruntime", {"onnxruntime": "1.20"}, "0" * 64, 700_000)
    en, ssim = METRICS[name]
    times = {"teacher": latency(200.0, ()), "fp32": latency(40.0), "int8": latency(16.0)}
    to_teacher = {"fp32": 0.2, "int8": 0.08}.get(name)
    to_fp32 = {"teacher": 5.0, "int8": 0.4}.get(name)
    return Contender(
        name=name,
        engine=engine if name in times else None,
        latency_ms=times.get(name),
        ratio_to_teacher=Ratio(to_teacher, to_teacher * 0.9, to_teacher * 1.1, 200) if to_teacher else None,
        ratio_to_fp32=Ratio(to_fp32, to_fp32 * 0.9, to_fp32 * 1.1, 200) if to_fp32 else None,
        to_teacher={"fp32": likeness(26.0, 22.0, pair), "int8": likeness(25.0, 20.0, pair)}.get(name),
        to_fp32={"int8": likeness(37.0, 33.0, pair)}.get(name),
        metrics={"EN": en, "SSIM": ssim, "VIF": None},
    )


def make_bench(board: Board = DESKTOP, pair: str = "set/1", was_busy: bool = False) -> Bench:
    score = Score(Fidelity(25.0, 0.9, 30, 8), None, {"EN": 6.9, "SSIM": 1.0, "VIF": None})
    state = MachineState(0.1, 1.0, {"cpu-thermal": 50.5})
    files = {"infrared": "p/01_infrared.png", "int8": "p/01_int8.png", "difference": "p/01_difference.png"}
    return Bench(
        schema=1,
        date="2026-01-02T03:04:05Z",
        command=f"irvis bench --pairs '{pair}'",
        irvis="0.1.0",
        board=board,
        model=Model("irvis-x", {"fp32": "1" * 64, "int8": "2" * 64}, {"commit": "abc", "note": EVIL}),
        teacher=Teacher("onnx", "teacher.onnx"),
        pairs_of=Pairs("pairs", 2, "3" * 64),
        timing=Timing(640, 480, "native", 200, 3, 4, 60.0),
        load=Load(state, state, was_busy),
        contenders=tuple(contender(name, pair) for name in METRICS),
        pairs=(PairRow(pair, 640, 480, False, {"fp32": score, "int8": score}),),
        pictures=(PictureSet(pair, "the worst pair", files, "int8 - fp32", 8),),
        not_measured=("power and energy: no rails",),
    )


def write_bench(folder: Path, bench: Bench, has_pictures: bool = True) -> Path:
    path = folder / "bench.json"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(bench_to_json(bench))
    if has_pictures:
        for pictures in bench.pictures:
            for number, name in enumerate(pictures.files.values()):
                write_picture(folder / name, np.full((60, 1000), 40 * number, np.uint8))
    return path


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


def test_losses_are_named_beside_wins() -> None:
    found = find(make_bench())
    assert any(f"INT8 is 12.5{TIMES} faster than the teacher" in text for text in found.wins)
    assert any("INT8 is 1.00 dB further from the teacher than FP32" in text for text in found.losses)
    assert any("INT8 is furthest from the teacher on set/1: 20.0 dB" in text for text in found.losses)
    assert "INT8 is behind the pixel average in SSIM." in found.losses
    assert "INT8 is ahead of both trivial baselines in EN." in found.wins
    assert any("not a Jetson" in text for text in found.limits)


def test_a_slower_precision_is_a_loss() -> None:
    bench = make_bench()
    slow = tuple(
        replace(item, ratio_to_fp32=Ratio(1.5, 1.4, 1.6, 200)) if item.name == "int8" else item
        for item in bench.contenders
    )
    found = find(replace(bench, contenders=slow))
    assert any(f"INT8 is 1.50{TIMES} slower than FP32" in text for text in found.losses)
    assert not any("than FP32 (" in text and "faster" in text for text in found.wins)


def test_what_limits_the_numbers_is_said() -> None:
    bench = make_bench(ORIN, was_busy=True)
    found = find(replace(bench, timing=replace(bench.timing, repeats=20)))
    assert any("busy" in text for text in found.limits)
    assert any("20 repeats" in text for text in found.limits)
    assert not any("not a Jetson" in text for text in found.limits)


def test_a_ratio_across_backends_is_said_to_compare_them() -> None:
    bench = make_bench()
    on_gpu = tuple(
        replace(item, engine=replace(item.engine, backend="tensorrt"))
        if item.engine and item.name != "teacher"
        else item
        for item in bench.contenders
    )
    assert any("compares the engines too" in text for text in find(replace(bench, contenders=on_gpu)).limits)


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
