"""Output branches with real encoders: what arrives, and what a slow or broken one does to the others."""

from __future__ import annotations

import errno
import os
import time
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np
import pytest

from irvis_runtime.errors import BackendError
from irvis_runtime.gstreamer import Description, build_pipeline, gst, gst_video, start_pipeline, stop_pipeline
from irvis_runtime.rig import OutputConfig
from irvis_runtime.sinks import branch as branch_module
from irvis_runtime.sinks import encoders
from irvis_runtime.sinks.branch import Branch
from irvis_runtime.sinks.destinations import make_sink
from irvis_runtime.sinks.encoders import Encoding, choose_encoder, encoder_launches
from irvis_runtime.sinks.outlet import Sink
from irvis_runtime.sinks.picture import Picture, grey_chroma
from irvis_runtime.sinks.pipeline import PipelineOutlet, PipelineSink

from .waiting import LIMIT_S, until

SIZE_HW = (120, 160)


pytestmark = pytest.mark.usefixtures("encoder")


def picture(index: int, size_hw: tuple[int, int] = SIZE_HW, colorimetry: str = "bt709") -> Picture:
    """A grey ramp that moves, tinted; picture `index` of 30 a second."""
    luma_hw = np.tile((np.arange(size_hw[1]) + 2 * index) % 200 + 20, (size_hw[0], 1)).astype(np.uint8)
    chroma = grey_chroma(size_hw)
    chroma[:, ::2], chroma[:, 1::2] = 90, 160
    return Picture(luma_hw, chroma, index * 33_333_333, colorimetry)


def is_through(branch: Branch, pushed: int) -> bool:
    return branch.sent + branch.dropped == pushed


def feed(branch: Branch, count: int, size_hw: tuple[int, int] = SIZE_HW, first: int = 0) -> None:
    """Pushes pictures, each when the one before is through: none is dropped because the machine is slow."""
    pushed = branch.sent + branch.dropped
    for index in range(first, first + count):
        branch.push(picture(index, size_hw))
        pushed += 1
        until(partial(is_through, branch, pushed))


def close(*branches: Branch) -> None:
    for branch in branches:
        branch.stop()
    for branch in branches:
        branch.join(LIMIT_S)


def make(sink: Sink, lines: list[str]) -> Branch:
    branch = Branch(sink, "generic", lines.append)
    branch.start()
    return branch


def file_sink(path: Path) -> Sink:
    return make_sink(OutputConfig(f"file://{path}", stall_ms=1e3 * LIMIT_S), lambda line: None)


def decoded(gstreamer: ModuleType, path: Path) -> list[Any]:
    """All samples of a recording, as NV12."""
    launch = (
        "filesrc name=in ! decodebin ! videoconvert ! video/x-raw,format=NV12 ! appsink name=out sync=false"
    )
    pipeline = build_pipeline(Description(launch, {"in": {"location": str(path)}}))
    start_pipeline(pipeline, time.monotonic_ns())
    samples = []
    while (sample := pipeline.get_by_name("out").try_pull_sample(60 * gstreamer.SECOND)) is not None:
        samples.append(sample)
    stop_pipeline(pipeline)
    return samples


def test_a_recording_holds_every_sent_picture_with_its_time_and_colour(
    gstreamer: ModuleType, tmp_path: Path
) -> None:
    lines: list[str] = []
    branch = make(file_sink(tmp_path / "film.mkv"), lines)
    feed(branch, 20)
    close(branch)
    samples = decoded(gstreamer, tmp_path / "film.mkv")
    assert len(samples) == branch.sent == 20
    assert not lines
    info = gst_video().VideoInfo.new_from_caps(samples[0].get_caps())
    assert info.colorimetry.to_string() == "bt709"
    _, memory = samples[0].get_buffer().map(gstreamer.MapFlags.READ)
    planes = np.frombuffer(bytes(memory.data), np.uint8)[: 180 * 160].reshape(180, 160).astype(int)
    samples[0].get_buffer().unmap(memory)
    # H.264 at this rate is lossy by a few levels.
    assert np.abs(planes[:120] - picture(0).luma_hw).mean() < 4
    assert np.abs(planes[120:, ::2] - 90).mean() < 4
    assert np.abs(planes[120:, 1::2] - 160).mean() < 4
    times_ms = [sample.get_buffer().pts / 1e6 for sample in samples]
    assert times_ms[0] == 0
    steps = np.diff(times_ms) / 33.333
    assert np.abs(steps - np.round(steps)).max() < 0.05


def test_an_odd_size_is_recorded_evened(gstreamer: ModuleType, tmp_path: Path) -> None:
    branch = make(file_sink(tmp_path / "film.mkv"), [])
    feed(branch, 6, (121, 161))
    close(branch)
    samples = decoded(gstreamer, tmp_path / "film.mkv")
    structure = samples[0].get_caps().get_structure(0)
    assert (structure.get_value("width"), structure.get_value("height")) == (162, 122)
    assert len(samples) == 6


def test_a_change_of_size_begins_a_further_file(gstreamer: ModuleType, tmp_path: Path) -> None:
    branch = make(file_sink(tmp_path / "film.mkv"), [])
    feed(branch, 8)
    feed(branch, 7, (60, 80), first=8)
    close(branch)
    assert len(decoded(gstreamer, tmp_path / "film.mkv")) == 8
    assert len(decoded(gstreamer, tmp_path / "film-1.mkv")) == 7


def test_a_broken_output_is_told_once_and_stops_neither_the_picture_nor_another(
    gstreamer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(branch_module, "BACK_OFF_S", (300.0, 300.0))
    lines: list[str] = []
    tail = "identity error-after=3 ! fakesink sync=false"
    broken = make(PipelineSink("broken://", tail, Encoding(1000), stall_s=LIMIT_S), lines)
    good = make(file_sink(tmp_path / "film.mkv"), lines)
    feed(broken, 3)
    until(lambda: bool(broken.reason))
    sent = broken.sent
    for index in range(20):
        broken.push(picture(index))
        feed(good, 1, first=index)
    close(broken, good)
    assert broken.reason
    assert broken.sent == sent
    assert broken.dropped >= 20
    assert good.dropped == 0
    assert len(decoded(gstreamer, tmp_path / "film.mkv")) == good.sent == 20
    assert len(lines) == 1
    assert lines[0].startswith("output broken://: ")
    assert lines[0].endswith("; trying again in 300 s")


def test_a_slow_output_drops_and_holds_up_nothing() -> None:
    """It takes half a second for each picture; were a push to wait for it, none would ever be dropped."""
    tail = "identity sleep-time=500000 ! fakesink sync=false"
    slow = make(PipelineSink("slow://", tail, None, stall_s=LIMIT_S), [])
    quick = make(PipelineSink("quick://", "fakesink sync=false", None, stall_s=LIMIT_S), [])
    end_s, pushed = time.monotonic() + LIMIT_S, 0
    while slow.dropped < 30:
        assert time.monotonic() < end_s, "the quick output keeps the slow one's pace"
        slow.push(picture(pushed))
        feed(quick, 1, first=pushed)
        pushed += 1
    close(slow, quick)
    assert quick.dropped == 0
    assert quick.sent == pushed


def test_an_output_is_opened_again_and_says_that_it_works() -> None:
    """The sink fails after 40 pictures; opened again, it has worked when a second of pictures has passed."""
    lines: list[str] = []
    tail = "identity error-after=40 ! fakesink sync=false"
    branch = make(PipelineSink("shaky://", tail, None, stall_s=LIMIT_S), lines)
    end_s, index = time.monotonic() + LIMIT_S, 0
    while not any("works again" in line for line in lines):
        assert time.monotonic() < end_s, "it did not happen in time"
        branch.push(picture(index))
        index += 1
        time.sleep(0.01)
    close(branch)
    assert lines[0].startswith("output shaky://:")
    assert lines[0].endswith("; trying again in 0.5 s")
    assert lines[1] == "output shaky://: works again"


def test_what_the_system_refuses_closes_the_output_and_not_the_program(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a disk does that is gone, in whatever call: the pipeline stops, and the output is opened again."""
    lines: list[str] = []
    branch = make(PipelineSink("gone://", "fakesink sync=false", None, stall_s=LIMIT_S), lines)
    feed(branch, 3)
    pipeline = cast(PipelineOutlet, branch._outlet).pipeline

    def gone(outlet: PipelineOutlet) -> str | None:
        raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))

    with monkeypatch.context() as patch:
        patch.setattr(PipelineOutlet, "stop_reason", gone)
        until(lambda: bool(branch.reason) or branch.defect is not None)
        assert branch.defect is None
        until(lambda: pipeline.get_state(0).state == gst().State.NULL)

    def is_sent_again() -> bool:
        branch.push(picture(9))
        return branch.sent > 3

    until(is_sent_again)
    close(branch)
    assert branch.defect is None
    assert lines[0] == (
        "output gone://: [Errno 107] Transport endpoint is not connected; trying again in 0.5 s"
    )


def test_a_jetson_tries_its_hardware_first_and_falls_back() -> None:
    """The hardware encoder is absent here, as on an Orin Nano; the trial finds one that works."""
    assert list(encoder_launches("jetson", Encoding(4000))) == ["nvv4l2h264enc", "x264enc", "openh264enc"]
    assert "nvv4l2h264enc" not in choose_encoder("jetson", 4000, (480, 640))


def test_where_no_encoder_works_the_error_says_why() -> None:
    with pytest.raises(BackendError, match=r"no H\.264 encoder works at 1x1 \(x264enc: .*openh264enc: "):
        choose_encoder("generic", 4000, (1, 1))


def test_an_encoder_that_was_busy_is_tried_again_and_one_that_works_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = ["busy", "busy", None]
    monkeypatch.setattr(encoders, "_trial_failure", lambda element, launch, size_hw: answers.pop(0))
    with pytest.raises(BackendError, match="x264enc: busy; openh264enc: busy"):
        choose_encoder("generic", 4321, (480, 640))
    assert choose_encoder("generic", 4321, (480, 640)).startswith("x264enc")
    assert choose_encoder("generic", 4321, (480, 640)).startswith("x264enc")
