"""A recording's names: nothing half-written under the final one, nothing destroyed."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from irvis_runtime.errors import BackendError, ContractError
from irvis_runtime.gstreamer import gst
from irvis_runtime.sinks import recording as recording_module
from irvis_runtime.sinks.recording import Recording, Rotation, free_name


def recording(path: Path, overwrite: bool = False) -> tuple[Recording, list[str]]:
    lines: list[str] = []
    return Recording(path, overwrite, lines.append), lines


def test_the_final_name_appears_when_the_recording_is_closed(tmp_path: Path) -> None:
    film, _ = recording(tmp_path / "film.mkv")
    piece = film.open()
    piece.part.write_bytes(b"pictures")
    assert [path.name for path in tmp_path.iterdir()] == ["film.mkv.part"]
    assert piece.close() == tmp_path / "film.mkv"
    assert (tmp_path / "film.mkv").read_bytes() == b"pictures"
    assert not piece.part.exists()


def test_an_existing_recording_is_refused_unless_it_may_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "film.mkv").write_bytes(b"old")
    with pytest.raises(ContractError, match="overwrite = true"):
        recording(tmp_path / "film.mkv")[0].check()
    film, _ = recording(tmp_path / "film.mkv", overwrite=True)
    film.check()
    piece = film.open()
    piece.part.write_bytes(b"new")
    assert (tmp_path / "film.mkv").read_bytes() == b"old"
    piece.close()
    assert (tmp_path / "film.mkv").read_bytes() == b"new"


def test_one_that_appears_during_the_recording_is_not_replaced(tmp_path: Path) -> None:
    film, _ = recording(tmp_path / "film.mkv")
    piece = film.open()
    piece.part.write_bytes(b"mine")
    (tmp_path / "film.mkv").write_bytes(b"theirs")
    assert piece.close().name == "film-1.mkv"
    assert (tmp_path / "film.mkv").read_bytes() == b"theirs"


def test_what_a_killed_run_left_is_kept(tmp_path: Path) -> None:
    (tmp_path / "film.mkv.part").write_bytes(b"rescued")
    (tmp_path / "film-1.mkv").write_bytes(b"older")
    film, lines = recording(tmp_path / "film.mkv")
    film.open()
    assert (tmp_path / "film-2.mkv").read_bytes() == b"rescued"
    assert "film-2.mkv" in lines[0]


def test_what_killed_runs_left_under_the_names_of_their_starts_is_kept(tmp_path: Path) -> None:
    """They count among the pieces then, and are deleted in their turn."""
    lines: list[str] = []
    for name in ("f-20250101T000000Z.mkv", "f-20250101T000000Z.mkv.part", "f-20250202T000000Z.mkv.part"):
        (tmp_path / name).write_bytes(b"rescued")
    growing, template = tmp_path / "f-20250303T000000Z.mkv", tmp_path / "f-{time}.mkv"
    other = Recording(growing, False, lines.append, template=template)
    other.open().part.write_bytes(b"another process's")
    Recording(tmp_path / "f-20260101T000000Z.mkv", False, lines.append, template=template).open()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "f-20250101T000000Z-1.mkv",
        "f-20250101T000000Z.mkv",
        "f-20250202T000000Z.mkv",
        "f-20250303T000000Z.mkv.part",
        "f-20260101T000000Z.mkv.part",
    ]


def test_an_empty_rest_is_removed(tmp_path: Path) -> None:
    (tmp_path / "film.mkv.part").touch()
    film, lines = recording(tmp_path / "film.mkv")
    film.open()
    assert not lines
    assert [path.name for path in tmp_path.iterdir()] == ["film.mkv.part"]


def test_further_pieces_of_one_run_get_numbers(tmp_path: Path) -> None:
    film, _ = recording(tmp_path / "film.mkv", overwrite=True)
    names = []
    for content in (b"a", b"b", b"c"):
        piece = film.open()
        piece.part.write_bytes(content)
        names.append(piece.close().name)
    assert names == ["film.mkv", "film-1.mkv", "film-2.mkv"]


def test_a_recording_that_another_process_writes_is_left_alone(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from irvis_runtime.sinks.recording import Recording;"
        "Recording(Path(sys.argv[1]), False, print).open().part.write_bytes(b'theirs');"
        "print('open', flush=True); sys.stdin.read()"
    )
    path = tmp_path / "film.mkv"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with pytest.raises(BackendError, match="is being written by another process"):
            recording(path)[0].open()
        assert (tmp_path / "film.mkv.part").read_bytes() == b"theirs"
        other.communicate("")


def test_a_late_closing_of_one_piece_leaves_the_next_one_alone(tmp_path: Path) -> None:
    """Its lock, its rotation, and its way onto the disk."""
    film = Recording(tmp_path / "film.mkv", False, print, Rotation(seconds=10.0))
    first = film.open()
    first.close()
    second = film.open()
    first.release()
    assert second.is_over(10.0)
    assert not second.is_over(9.9)
    assert not second._is_released.is_set()
    with pytest.raises(BackendError, match="is being written by another process"):
        recording(tmp_path / "film.mkv")[0].open()
    second.release()
    recording(tmp_path / "film.mkv")[0].open().release()


class StaleDisk:
    """The module os on a network's disk that is gone."""

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def fstat(self, handle: int) -> os.stat_result:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    def close(self, handle: int) -> None:
        os.close(handle)
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_disk_that_is_gone_is_told_and_the_piece_can_be_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    piece = recording(tmp_path / "film.mkv")[0].open()
    monkeypatch.setattr(recording_module, "os", StaleDisk())
    with pytest.raises(BackendError, match=r"film\.mkv\.part: Stale file handle; see whether"):
        piece.is_over(1.0)
    piece.release()


def test_a_recording_goes_on_when_its_disk_is_back(
    encoder: str, outputs: Any, until: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    branch = outputs.open(f"file://{tmp_path}/film.mkv")
    outputs.feed()
    until(lambda: branch.sent > 5)
    pipeline = branch._outlet.pipeline
    with monkeypatch.context() as patch:
        patch.setattr(recording_module, "os", StaleDisk())
        until(lambda: bool(branch.reason) or branch.defect is not None)
        assert branch.defect is None
        until(lambda: pipeline.get_state(0).state == gst().State.NULL)
    until(lambda: any("works again" in line for line in outputs.lines))
    outputs.close()
    assert "film.mkv.part: Stale file handle" in outputs.lines[0]
    assert (tmp_path / "film.mkv").exists()


def test_a_folder_is_no_recording(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="name a file in a folder that is writable"):
        recording(tmp_path, overwrite=True)[0].check()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ContractError, match="cannot make its folder"):
        recording(tmp_path / "file" / "film.mkv")[0].check()


def test_a_free_name_is_numbered_behind_the_last(tmp_path: Path) -> None:
    """A deleted piece's number is not used again: the numbers tell the order."""
    assert free_name(tmp_path / "a.mkv").name == "a-1.mkv"
    (tmp_path / "a-7.mkv").touch()
    (tmp_path / "a-b-9.mkv").touch()
    assert free_name(tmp_path / "a.mkv").name == "a-8.mkv"
    assert free_name(tmp_path / "none" / "a.mkv").name == "a-1.mkv"
