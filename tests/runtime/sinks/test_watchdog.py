"""A sink that is stuck: it is closed in the background and opened again, and the others notice nothing."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from irvis_runtime.errors import BackendError
from irvis_runtime.sinks import branch as branch_module
from irvis_runtime.sinks.closing import MAX_HUNG, Closing
from irvis_runtime.sinks.pipeline import PipelineSink

from .waiting import LIMIT_S


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A pipe and its reading end, which nobody reads: who writes to it hangs, also when he is to close."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    yield path, reading
    os.close(reading)


def closings() -> int:
    return [thread.name for thread in threading.enumerate()].count("output-stuck://-closing")


def drain(reading: int) -> None:
    """Reads what is in the pipe now."""
    with suppress(BlockingIOError):
        while os.read(reading, 2**16):
            pass


@pytest.mark.slow
def test_a_sink_that_hangs_even_in_closing_is_left_behind_and_opened_again(
    outputs: Any, until: Any, pipe: tuple[Path, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """GStreamer's filesink on a full pipe blocks in write(), and then in its change of state, for ever."""
    monkeypatch.setattr(branch_module, "BACK_OFF_S", (0.05, 0.1))
    path, reading = pipe
    file = {"location": str(path)}
    tail = "filesink name=file buffer-mode=unbuffered async=false"
    stuck = outputs.open(PipelineSink("stuck://", tail, None, {"file": file}, stall_s=0.3))
    other = outputs.open("null://")
    # Were its first pictures a second apart, it would have worked for a second.
    feed = outputs.feed(step_s=0.1)
    until(lambda: f"{MAX_HUNG} closings of it hang" in stuck.reason)
    assert stuck.stalls >= MAX_HUNG
    assert closings() == MAX_HUNG
    others = other.sent
    until(lambda: other.sent > others + 30)
    assert closings() == MAX_HUNG, "no more than so many are left behind"
    assert feed.longest_push_s < 5
    assert len(outputs.lines) == 1
    assert outputs.lines[0].startswith("output stuck://: took no picture for 0.3 s; trying again in")

    # The reader goes on: everything comes free, and the output works again.
    def read() -> bool:
        drain(reading)
        return any("works again" in line for line in outputs.lines)

    until(read)
    until(lambda: stuck._closing.hung == 0)

    def is_closed() -> bool:
        drain(reading)
        return not stuck._thread.is_alive()

    feed.stop()
    stuck.stop()
    until(is_closed)


def test_a_stuck_sink_does_not_hold_up_the_end(
    outputs: Any, until: Any, pipe: tuple[Path, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(branch_module, "CLOSE_S", 0.2)
    path, reading = pipe
    tail = "filesink name=file buffer-mode=unbuffered async=false"
    sink = PipelineSink("stuck://", tail, None, {"file": {"location": str(path)}}, stall_s=LIMIT_S)
    stuck = outputs.open(sink)
    feed = outputs.feed()
    until(lambda: stuck.dropped > 5)
    feed.stop()
    stuck.stop()
    stuck.join(0.5)
    assert "did not close within 0.5 s; its last pictures may be missing" in outputs.lines[0]

    def is_closed() -> bool:
        drain(reading)
        return not stuck._thread.is_alive()

    until(is_closed)


def test_closings_are_counted_while_they_hang(until: Any) -> None:
    closing, going_on = Closing("test"), threading.Event()
    for _ in range(MAX_HUNG):
        closing.check()
        closing.run(going_on.wait)  # type: ignore[arg-type]
    assert closing.hung == MAX_HUNG
    with pytest.raises(BackendError, match="4 closings of it hang; end what holds it"):
        closing.check()
    going_on.set()
    until(lambda: not closing.hung)
    closing.check()


def test_an_output_shows_another_view_from_the_next_picture_on(
    encoder: str, outputs: Any, reader: Any, until: Any, tmp_path: Path
) -> None:
    """The loop asks the branch which view it wants; the recording goes on in the same file."""
    from irvis_runtime.cameras.compose import Composed
    from irvis_runtime.live.views import Views
    from irvis_runtime.sinks.picture import Picture, grey_chroma

    def grey(level: int, index: int) -> Picture:
        import numpy as np

        luma_hw = np.full((120, 160), level, np.uint8)
        return Picture(luma_hw, grey_chroma((120, 160)), index * 33_333_333, "1:4:0:0")

    branch = outputs.open(f"file://{tmp_path}/film.mkv")
    for index in range(40):
        if index == 20:
            branch.set_view("thermal")
        composed = Composed(
            grey(200, index),
            "fusing",
            visible=grey(100, index),
            infrared_hw=grey(50, index).luma_hw,
            filled_hw=grey(50, index).luma_hw,
        )
        branch.push(Views(composed).picture(branch.view))
        until(lambda done=index + 1: branch.sent == done)
    outputs.close()
    levels = [
        luma.mean() for luma in reader.lumas("filesrc name=in ! decodebin", location=f"{tmp_path}/film.mkv")
    ]
    assert [round(level, -1) for level in levels] == [200.0] * 20 + [50.0] * 20
    assert outputs.lines == [f"output file://{tmp_path}/film.mkv: shows thermal"]
