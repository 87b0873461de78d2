"""Recordings read back: whole, in pieces, killed, on a full disk; and the codec's profile."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from irvis_runtime.errors import BackendError
from irvis_runtime.gstreamer import gst
from irvis_runtime.sinks.encoders import choose_encoder

from .waiting import LIMIT_S, told

pytestmark = pytest.mark.usefixtures("encoder")

SUFFIXES = pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
RECORD = """
import sys, time, numpy as np
from irvis_runtime.rig import OutputConfig
from irvis_runtime.sinks.branch import Branch
from irvis_runtime.sinks.destinations import make_sink
from irvis_runtime.sinks.picture import Picture, grey_chroma
def report(line):
    print(line, file=sys.stderr)
branch = Branch(make_sink(OutputConfig(sys.argv[1], stall_ms=600_000.0), report), "generic", report)
branch.start()
for index in range(100_000):
    luma_hw = np.full((120, 160), 128, np.uint8)
    luma_hw[:60] = np.repeat(np.where((index >> np.arange(16)) & 1, 235, 16), 10)
    branch.push(Picture(luma_hw, grey_chroma((120, 160)), index * 1_000_000_000 // 30, "bt709"))
    print(branch.sent, flush=True)
    time.sleep(1 / 30)
"""


def record_and_kill(run: Any, sink: str, pictures: int) -> int:
    """Has another process record and kills it when it has sent so many pictures; how many it had."""
    process = run(sys.executable, "-c", RECORD, sink)
    end_s, sent = time.monotonic() + LIMIT_S, 0
    while sent < pictures:
        assert time.monotonic() < end_s, f"{sent} pictures were sent"
        sent = int(told(process))
    process.send_signal(signal.SIGKILL)
    process.wait()
    return sent


@SUFFIXES
def test_a_recording_holds_every_picture(
    suffix: str, outputs: Any, reader: Any, until: Any, tmp_path: Path
) -> None:
    branch = outputs.open(f"file://{tmp_path}/film{suffix}")
    feed = outputs.feed()
    until(lambda: branch.sent >= 60)
    outputs.close()
    numbers = reader.numbers(tmp_path / f"film{suffix}")
    assert len(numbers) == branch.sent
    assert branch.sent + branch.dropped == feed.pushed
    assert numbers == sorted(set(numbers))
    assert outputs.lines == []


@SUFFIXES
def test_after_a_kill_all_but_the_last_second_plays(
    suffix: str, reader: Any, run: Any, tmp_path: Path
) -> None:
    """By SIGKILL after 5 s of pictures: `.part` is a film, and the next run keeps it under a name."""
    sent = record_and_kill(run, f"file://{tmp_path}/film{suffix}", 150)
    part = tmp_path / f"film{suffix}.part"
    numbers = reader.numbers(part)
    assert numbers == sorted(set(numbers))
    assert len(numbers) >= sent - 30


@SUFFIXES
def test_ffmpeg_reads_a_recording_that_was_killed(suffix: str, run: Any, tmp_path: Path) -> None:
    ffprobe = shutil.which("ffprobe")
    if ffprobe is None:
        pytest.skip("ffprobe is not installed")
    sent = record_and_kill(run, f"file://{tmp_path}/film{suffix}", 90)
    command = [ffprobe, "-v", "quiet", "-count_frames", "-show_entries", "stream=nb_read_frames,profile"]
    told = subprocess.run(
        [*command, "-of", "csv=p=0", str(tmp_path / f"film{suffix}.part")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    profile, frames = told.strip().split(",")
    assert profile == "Constrained Baseline"
    assert int(frames) >= sent - 30


@SUFFIXES
def test_rotation_loses_no_picture_and_keeps_the_newest_pieces(
    suffix: str, outputs: Any, reader: Any, until: Any, tmp_path: Path
) -> None:
    """Pieces of half a second; the recorder's queue holds what comes while the next one opens."""
    every = outputs.open(f"file://{tmp_path}/all{suffix}", rotate_s=0.5)
    last = outputs.open(f"file://{tmp_path}/last{suffix}", rotate_s=0.5, keep_pieces=3)
    outputs.feed()
    until(lambda: min(every.sent, last.sent) >= 100)
    outputs.close()
    names = [f"all{suffix}", *(f"all-{number}{suffix}" for number in range(1, 1000))]
    pieces = [reader.numbers(tmp_path / name) for name in names if (tmp_path / name).exists()]
    assert len(pieces) >= 6
    assert all(len(piece) == 15 for piece in pieces[:-1] if every.dropped == 0)
    numbers = [number for piece in pieces for number in piece]
    assert len(numbers) == every.sent
    assert numbers == sorted(set(numbers))
    kept = sorted(tmp_path.glob("last*"), key=lambda path: path.stat().st_mtime_ns)
    assert len(kept) == 3
    assert sum(len(reader.numbers(path)) for path in kept) <= 45
    assert reader.numbers(kept[-1])[-1] >= last.sent - 1
    assert all("deleted: its output keeps 3 pieces" in line for line in outputs.lines)


def test_a_piece_ends_at_its_size(outputs: Any, reader: Any, until: Any, tmp_path: Path) -> None:
    branch = outputs.open(f"file://{tmp_path}/film.mkv", rotate_mib=1, bitrate_kbps=50_000)
    outputs.feed(noise=100, size_hw=(240, 320))
    until(lambda: (tmp_path / "film-2.mkv").exists())
    outputs.close()
    sizes = [(tmp_path / name).stat().st_size for name in ("film.mkv", "film-1.mkv", "film-2.mkv")]
    assert all(2**20 <= size < 2 * 2**20 for size in sizes)
    assert sum(len(reader.numbers(path)) for path in tmp_path.glob("film*.mkv")) == branch.sent


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0:
        pytest.skip("needs root: mounts a small file system")
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"cannot mount a small file system: {done.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@SUFFIXES
def test_a_full_disk_costs_the_recording_alone_and_it_goes_on_when_there_is_room(
    suffix: str, outputs: Any, reader: Any, until: Any, small_disk: Path
) -> None:
    (small_disk / "filler").write_bytes(bytes(18 * 2**20))
    film = outputs.open(f"file://{small_disk}/film{suffix}", bitrate_kbps=50_000)
    other = outputs.open("null://")
    feed = outputs.feed(noise=100, size_hw=(240, 320))
    until(lambda: bool(film.reason))
    sent, others = film.sent, other.sent
    until(lambda: other.sent > others + 60)
    assert "trying again" in outputs.lines[0]
    (small_disk / "filler").unlink()
    # Easy to encode from now on: the disk must not be full again before the test has seen that it goes on.
    feed.noise = 0
    until(lambda: any("works again" in line for line in outputs.lines))
    outputs.close()
    # While it recorded and while it could not, the picture and the other output went on.
    assert feed.longest_push_s < 5
    assert other.sent + other.dropped == feed.pushed
    rescued = reader.numbers(small_disk / f"film-1{suffix}")
    assert rescued == sorted(set(rescued))
    assert len(rescued) >= sent - 30
    assert reader.numbers(small_disk / f"film{suffix}")


def test_a_folder_that_is_deleted_is_told_and_the_recording_begins_anew(
    outputs: Any, reader: Any, until: Any, tmp_path: Path
) -> None:
    """The kernel reports no error: a deleted file takes what is written, and is gone once it is closed."""
    folder = tmp_path / "films"
    branch = outputs.open(f"file://{folder}/film.mkv")
    outputs.feed()
    until(lambda: branch.sent > 5)
    shutil.rmtree(folder)
    until(lambda: bool(outputs.lines))
    assert "film.mkv.part was deleted while it was written; trying again" in outputs.lines[0]
    folder.mkdir()
    until(lambda: any("works again" in line for line in outputs.lines))
    outputs.close()
    assert len(reader.numbers(folder / "film.mkv")) > 5


def test_old_pieces_make_room_for_new_ones(outputs: Any, until: Any, small_disk: Path) -> None:
    """A ring of pieces on a disk with 12 MiB to keep free: it never fills, and nothing is reported closed."""
    (small_disk / "film-of-another.mkv").write_bytes(b"not ours")
    branch = outputs.open(
        f"file://{small_disk}/film.mkv", rotate_mib=2, keep_free_mib=12, bitrate_kbps=50_000
    )
    outputs.feed(noise=100, size_hw=(240, 320))
    until(lambda: (small_disk / "film-9.mkv").exists())
    room = os.statvfs(small_disk)
    assert room.f_bavail * room.f_frsize > 9 * 2**20
    outputs.close()
    assert not (small_disk / "film.mkv").exists()
    assert (small_disk / "film-of-another.mkv").read_bytes() == b"not ours"
    assert branch.reason == ""
    assert all("12 MiB free" in line for line in outputs.lines)


@pytest.mark.parametrize(("codec", "profile"), [("h264", "constrained-baseline"), ("h265", "main")])
def test_hardware_decoders_take_the_profile(
    codec: str, profile: str, outputs: Any, reader: Any, until: Any, tmp_path: Path
) -> None:
    """4:2:0, 8 bit; left alone, x264enc has made High 4:4:4 10 bit (facts, payload 1.5)."""
    try:
        choose_encoder("generic", 1000, (120, 160), codec)
    except BackendError as error:
        pytest.skip(str(error))
    branch = outputs.open(f"file://{tmp_path}/film.mkv", codec=codec, keyframe_interval=10)
    outputs.feed()
    until(lambda: branch.sent >= 35)
    outputs.close()
    caps = reader.caps(tmp_path / "film.mkv")
    assert caps.get_name() == f"video/x-{codec}"
    assert caps.get_string("profile") == profile
    assert caps.get_string("chroma-format") == "4:2:0"
    assert caps.get_value("bit-depth-luma") == 8
    assert keyframes(tmp_path / "film.mkv")[:3] == [0, 10, 20]


def keyframes(path: Path) -> list[int]:
    """Which pictures of a recording can be entered at."""
    Gst = gst()
    # matroskademux alone calls every picture a key frame; the parser looks.
    launch = "filesrc name=in ! parsebin ! appsink name=out sync=false"
    pipeline = Gst.parse_launch(launch)
    pipeline.get_by_name("in").set_property("location", str(path))
    pipeline.set_state(Gst.State.PLAYING)
    found: list[int] = []
    index = 0
    while (sample := pipeline.get_by_name("out").try_pull_sample(60 * Gst.SECOND)) is not None:
        if not sample.get_buffer().has_flags(Gst.BufferFlags.DELTA_UNIT):
            found.append(index)
        index += 1
    pipeline.set_state(Gst.State.NULL)
    return found
