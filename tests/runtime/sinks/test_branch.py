"""Output branches with real encoders: what arrives, and what a slow or broken one does to the others."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from irvis_runtime.errors import BackendError
from irvis_runtime.gstreamer import Description, build_pipeline, gst_video, start_pipeline, stop_pipeline
from irvis_runtime.rig import OutputConfig
from irvis_runtime.sinks import encoders
from irvis_runtime.sinks.branch import Branch
from irvis_runtime.sinks.destinations import make_sink
from irvis_runtime.sinks.encoders import Encoding, choose_encoder, encoder_launches
from irvis_runtime.sinks.outlet import Sink
from irvis_runtime.sinks.picture import Picture, grey_chroma
from irvis_runtime.sinks.pipeline import PipelineSink

SIZE_HW = (120, 160)


pytestmark = pytest.mark.usefixtures("encoder")


def picture(index: int, size_hw: tuple[int, int] = SIZE_HW, colorimetry: str = "bt709") -> Picture:
    """A grey ramp that moves, tinted; picture `index` of 30 a second."""
    luma_hw = np.tile((np.arange(size_hw[1]) + 2 * index) % 200 + 20, (size_hw[0], 1)).astype(np.uint8)
    chroma = grey_chroma(size_hw)
    chroma[:, ::2], chroma[:, 1::2] = 90, 160
    return Picture(luma_hw, chroma, index * 33_333_333, colorimetry)


def feed(branches: list[Branch], count: int, size_hw: tuple[int, int] = SIZE_HW, first: int = 0) -> float:
    """Pushes pictures at 100 a second into all branches; returns the longest time of one push, in s."""
    longest_s = 0.0
    for index in range(first, first + count):
        started_s = time.monotonic()
        for branch in branches:
            branch.push(picture(index, size_hw))
        longest_s = max(longest_s, time.monotonic() - started_s)
        time.sleep(0.01)
    return longest_s


def close(branches: list[Branch]) -> None:
    for branch in branches:
        branch.stop()
    for branch in branches:
        branch.join()


def make(sink: Sink, lines: list[str]) -> Branch:
    branch = Branch(sink, "generic", lines.append)
    branch.start()
    return branch


def file_sink(path: Path) -> Sink:
    return make_sink(OutputConfig(f"file://{path}"), lambda line: None)


def decoded(gstreamer: ModuleType, path: Path) -> list[Any]:
    """All samples of a recording, as NV12."""
    launch = (
        "filesrc name=in ! decodebin ! videoconvert ! video/x-raw,format=NV12 ! appsink name=out sync=false"
    )
    pipeline = build_pipeline(Description(launch, {"in": {"location": str(path)}}))
    start_pipeline(pipeline, time.monotonic_ns())
    samples = []
    while (sample := pipeline.get_by_name("out").try_pull_sample(5 * gstreamer.SECOND)) is not None:
        samples.append(sample)
    stop_pipeline(pipeline)
    return samples


def wait_for(condition: Callable[[], bool], seconds: float = 8.0) -> None:
    end_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end_s, "it did not happen in time"
        time.sleep(0.01)


def test_a_recording_holds_every_sent_picture_with_its_time_and_colour(
    gstreamer: ModuleType, tmp_path: Path
) -> None:
    lines: list[str] = []
    branch = make(file_sink(tmp_path / "film.mkv"), lines)
    feed([branch], 20)
    close([branch])
    samples = decoded(gstreamer, tmp_path / "film.mkv")
    assert branch.sent + branch.dropped == 20
    assert len(samples) == branch.sent
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
    feed([branch], 6, (121, 161))
    close([branch])
    samples = decoded(gstreamer, tmp_path / "film.mkv")
    structure = samples[0].get_caps().get_structure(0)
    assert (structure.get_value("width"), structure.get_value("height")) == (162, 122)
    assert len(samples) == branch.sent


def test_a_change_of_size_begins_a_further_file(gstreamer: ModuleType, tmp_path: Path) -> None:
    branch = make(file_sink(tmp_path / "film.mkv"), [])
    feed([branch], 8)
    wait_for(lambda: branch.sent + branch.dropped == 8)
    before = branch.sent
    feed([branch], 8, (60, 80), first=8)
    close([branch])
    assert len(decoded(gstreamer, tmp_path / "film.mkv")) == before
    assert len(decoded(gstreamer, tmp_path / "film-1.mkv")) == branch.sent - before


def test_a_broken_output_is_told_once_and_stops_neither_the_picture_nor_another(
    gstreamer: ModuleType, tmp_path: Path
) -> None:
    lines: list[str] = []
    broken = make(
        PipelineSink("broken://", "identity error-after=3 ! fakesink sync=false", Encoding(1000)), lines
    )
    good = make(file_sink(tmp_path / "film.mkv"), lines)
    assert feed([broken, good], 30) < 0.25
    close([broken, good])
    assert broken.reason
    assert broken.dropped > 0
    assert len(decoded(gstreamer, tmp_path / "film.mkv")) == good.sent
    assert [line.split(";")[0] for line in lines] == [lines[0].split(";")[0]]
    assert lines[0].startswith("output broken://: ")
    assert lines[0].endswith("trying again in 0.5 s")


def test_a_slow_output_drops_and_holds_up_nothing() -> None:
    slow = make(PipelineSink("slow://", "identity sleep-time=300000 ! fakesink sync=false", None), [])
    quick = make(PipelineSink("quick://", "fakesink sync=false", None), [])
    longest_s = feed([slow, quick], 60)
    wait_for(lambda: quick.sent + quick.dropped == 60)
    close([slow, quick])
    assert slow.dropped > 30
    assert quick.sent > 50
    assert longest_s < 0.25


def test_an_output_is_opened_again_and_says_that_it_works() -> None:
    """The sink fails after 40 pictures; opened again, it has worked when a second of pictures has passed."""
    lines: list[str] = []
    branch = make(PipelineSink("shaky://", "identity error-after=40 ! fakesink sync=false", None), lines)
    end_s = time.monotonic() + 8
    index = 0
    while not any("works again" in line for line in lines) and time.monotonic() < end_s:
        branch.push(picture(index))
        index += 1
        time.sleep(0.01)
    close([branch])
    assert lines[0].startswith("output shaky://:")
    assert lines[1] == "output shaky://: works again"


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
