from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from irvis_runtime import default_model_dir
from irvis_runtime.__main__ import main as irvis
from irvis_runtime.bench.command import parse_options, summary
from irvis_runtime.bench.fields import to_json
from irvis_runtime.bench.file import (
    Bench,
    bench_to_json,
    load_bench,
)
from irvis_runtime.bench.run import BenchOptions, run_bench
from irvis_runtime.errors import ContractError
from irvis_runtime.image import read_picture, write_picture
from irvis_runtime.kernels.library import kind_of_kernels

from .bench_pairs import SIZE_HW, write_pairs

PICTURES = arrays(np.uint8, (16, 20), elements=st.integers(0, 255))
TIMES_MS = st.floats(0.001, 1e6, allow_nan=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[BenchOptions, Bench]:
    """One real run of the shipped model against a teacher's pictures."""
    folder = tmp_path_factory.mktemp("bench")
    pairs = write_pairs(folder / "pairs", 3)
    for number in range(3):
        write_picture(folder / "teacher" / f"{number}.png", np.full(SIZE_HW, 100 + number, np.uint8))
    options = BenchOptions(
        model_dir=default_model_dir(),
        pairs=pairs,
        output=folder / "out" / "bench.json",
        pictures=folder / "out" / "pictures",
        teacher=folder / "teacher",
        precisions=("fp32", "int8"),
        width=64,
        height=48,
        repeats=3,
        threads=1,
        picture_count=2,
        command="irvis bench --pairs pairs",
    )
    return options, run_bench(options)


def test_a_run_measures_every_contender(run: tuple[BenchOptions, Bench]) -> None:
    _, bench = run
    contenders = {item.name: item for item in bench.contenders}
    assert list(contenders) == ["fp32", "int8", "teacher", "average", "maximum"]
    int8 = contenders["int8"]
    assert int8.latency_ms is not None
    assert int8.latency_ms.keys() == {"context", "fuse", "total"}
    assert int8.latency_ms["total"].count == 3
    assert int8.ratio_to_fp32 is not None
    assert int8.to_fp32 is not None
    assert int8.to_fp32.pairs == 3
    assert contenders["average"].engine is None
    assert set(int8.metrics) == set(contenders["maximum"].metrics)
    assert len(bench.pairs) == bench.pairs_of.count == 3
    assert bench.timing.kernels == kind_of_kernels()


def test_what_was_not_measured_is_none_and_said(run: tuple[BenchOptions, Bench]) -> None:
    _, bench = run
    teacher = next(item for item in bench.contenders if item.name == "teacher")
    assert teacher.latency_ms is None
    assert teacher.to_teacher is None
    assert all(item.ratio_to_teacher is None for item in bench.contenders)
    assert any("speed of the teacher" in sentence for sentence in bench.not_measured)


def test_pictures_lie_beside_the_bench_file(run: tuple[BenchOptions, Bench]) -> None:
    options, bench = run
    assert len(bench.pictures) == 2
    expected = {"infrared", "visible", "teacher", "fp32", "int8", "difference"}
    for pictures in bench.pictures:
        assert set(pictures.files) == expected
        for name in pictures.files.values():
            assert read_picture(options.output.parent / name).shape[:2] == SIZE_HW
    assert any(pictures.why.startswith("the worst pair") for pictures in bench.pictures)


def test_the_file_is_strict_json_and_comes_back(run: tuple[BenchOptions, Bench], tmp_path: Path) -> None:
    text = bench_to_json(run[1])
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    path = tmp_path / "bench.json"
    path.write_text(text)
    assert bench_to_json(load_bench(path)) == text


def test_the_summary_shows_each_contender(run: tuple[BenchOptions, Bench]) -> None:
    text = summary(run[1])
    for name in ("fp32", "int8", "teacher", "average", "maximum", "not measured: power"):
        assert f"\n{name}" in text


def test_the_same_run_without_a_teacher(run: tuple[BenchOptions, Bench], tmp_path: Path) -> None:
    options = replace(
        run[0],
        teacher=None,
        precisions=("int8",),
        repeats=1,
        picture_count=0,
        judge="timed",
        width=48,
        height=48,
    )
    bench = run_bench(options)
    assert bench.teacher is None
    assert bench.pictures == ()
    assert [item.name for item in bench.contenders] == ["int8", "average", "maximum"]
    assert {(row.width, row.height) for row in bench.pairs} == {(48, 48)}
    assert all(item.to_teacher is None and item.to_fp32 is None for item in bench.contenders)
    assert any("no teacher was named" in sentence for sentence in bench.not_measured)


def test_the_command_writes_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = write_pairs(tmp_path / "pairs", 1)
    output = tmp_path / "b.json"
    arguments = ["--pairs", str(pairs), "-o", str(output), "--precisions", "fp32", "--size", "64x48"]
    options = ["--repeats", "1", "--threads", "1", "--metrics", "EN,SSIM", "--picture-count", "1"]
    assert irvis(["bench", *arguments, *options]) == 0
    assert "irvis report" in capsys.readouterr().out
    bench = load_bench(output)
    assert bench.command.startswith("irvis bench --pairs")
    assert set(bench.contenders[0].metrics) == {"EN", "SSIM"}
    assert (tmp_path / "b_pictures" / "01_fp32.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--pairs"),
        (["--pairs", "x", "--size", "640"], "640x480"),
        (["--pairs", "x", "--size", "8x480"], "from 16"),
        (["--pairs", "x", "--repeats", "0"], "from 1 up"),
        (["--pairs", "x", "--precisions", "fp32,int9"], "int9"),
        (["--pairs", "x", "--precisions", "fp32,fp32"], "each once"),
        (["--pairs", "x", "--seconds", "-3"], "seconds"),
        (["--pairs", "x", "-o", "out/b.json", "--pictures", "elsewhere"], "travels with the bench file"),
    ],
)
def test_wrong_arguments_are_told_in_one_line(arguments: list[str], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        parse_options(arguments)


def test_wrong_metrics_and_missing_targets_end_a_run_before_it_starts(
    run: tuple[BenchOptions, Bench], tmp_path: Path
) -> None:
    with pytest.raises(ContractError, match="'XY'"):
        run_bench(replace(run[0], metrics=("EN", "XY")))
    write_picture(tmp_path / "0.png", np.zeros(SIZE_HW, np.uint8))
    with pytest.raises(ContractError, match="'1'"):
        run_bench(replace(run[0], teacher=tmp_path))


def test_a_number_that_is_not_finite_is_never_written(run: tuple[BenchOptions, Bench]) -> None:
    timing = replace(run[1].timing, seconds=math.inf)
    with pytest.raises(ContractError, match="finite"):
        to_json(replace(run[1], timing=timing))


BROKEN: list[tuple[str, object, str]] = [
    ("schema", 1, "schema: expected 2"),
    ("schema", None, "schema: expected 2"),
    ("date", 5, "date: expected a text"),
    ("contenders", [], "contenders: expected one or more"),
    ("contenders", {}, "contenders: expected an array"),
    ("board", [], "board: expected an object"),
    ("timing.width", "640", "timing.width: expected an integer"),
    ("timing.width", True, "timing.width: expected an integer"),
    ("timing.seconds", "soon", "timing.seconds: expected a number"),
    ("load.was_busy", 1, "load.was_busy: expected true or false"),
    ("pairs.1.scores", {"int4": {"to_teacher": None, "to_fp32": None, "metrics": {}}}, r"pairs\[1\].scores"),
    ("contenders.0.latency_ms", {}, r"contenders\[0\].latency_ms: expected the stage `total`"),
    ("contenders.0.latency_ms.total.p50", None, r"contenders\[0\].latency_ms.total.p50: expected a number"),
    (
        "contenders.1.to_teacher.psnr_db_worst",
        None,
        "psnr_db_worst: expected null exactly where psnr_db_mean",
    ),
    ("contenders.1.to_fp32.psnr_db_mean", None, r"contenders\[1\].to_fp32.psnr_db_worst: expected null"),
    ("contenders.1.to_teacher.psnr_db_mean", 1e17, "psnr_db_mean: expected decibels, at most 1000"),
    ("contenders.1.to_teacher.psnr_db_worst", -1e17, "psnr_db_worst: expected decibels"),
    ("pairs.0.scores.int8.to_teacher.psnr_db", 1e17, r"pairs\[0\].+psnr_db: expected decibels"),
    ("contenders.0.engine.file_bytes", 10**400, "file_bytes: expected an integer of 53 bits"),
    ("contenders.0.surprise", 1, r"contenders\[0\].surprise"),
]


@pytest.mark.parametrize(("field", "value", "message"), BROKEN)
def test_a_malformed_file_is_refused_by_its_field(
    run: tuple[BenchOptions, Bench], tmp_path: Path, field: str, value: object, message: str
) -> None:
    content = json.loads(bench_to_json(run[1]))
    *way, last = field.split(".")
    place = content
    for step in way:
        place = place[int(step)] if isinstance(place, list) else place[step]
    place[last] = value
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ContractError, match=message) as caught:
        load_bench(path)
    assert str(path) in str(caught.value)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_a_file_without_any_one_of_its_fields_is_refused(
    run: tuple[BenchOptions, Bench], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = json.loads(bench_to_json(run[1]))
    place = content
    # The values of these are free.
    free = {"metrics", "versions", "provenance", "scores", "files", "latency_ms", "temperatures_c"}
    while True:
        key = data.draw(st.sampled_from(sorted(place)))
        if key not in free and isinstance(place[key], dict) and data.draw(st.booleans()):
            place = place[key]
            continue
        break
    del place[key]
    path = tmp_path_factory.mktemp("broken") / "bench.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ContractError, match=key):
        load_bench(path)


@pytest.mark.parametrize("content", [b"", b"[]", b"nonsense", b'{"schema": NaN}', b"\xff\xfe", b"[" * 9000])
def test_what_is_no_bench_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bench.json"
    path.write_bytes(content)
    with pytest.raises(ContractError, match=r"bench\.json"):
        load_bench(path)
    with pytest.raises(ContractError, match="other"):
        load_bench(tmp_path / "other.json")
