from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from irvis_runtime import ContractError
from irvis_runtime.atomic import replacing, write_bytes, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_half(path: Path, error: BaseException) -> None:
    """Fails in the middle of writing."""
    with replacing(path) as temporary:
        temporary.write_text("half of the n")
        raise error


def run_python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_writes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "größer")
    write_bytes(path, b"second")
    assert path.read_bytes() == b"second"
    assert names(tmp_path) == ["a.txt"]


def test_text_is_utf_8(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "größer\n")
    assert (tmp_path / "a.txt").read_bytes() == "größer\n".encode()


def test_missing_folders_are_made(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b" / "c.json", "{}")
    assert (tmp_path / "a" / "b" / "c.json").read_text() == "{}"


def test_temporary_lies_beside_with_the_same_suffix(tmp_path: Path) -> None:
    with replacing(tmp_path / "clip.mp4") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".mp4"
        assert temporary.name.startswith(".clip.")
        assert not (tmp_path / "clip.mp4").exists()
        temporary.write_bytes(b"x")
    assert names(tmp_path) == ["clip.mp4"]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(3)])
def test_failure_leaves_the_old_file_and_nothing_else(error: BaseException, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(type(error)):
        write_half(path, error)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_failure_of_a_new_file_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        write_half(tmp_path / "a.txt", RuntimeError())
    assert names(tmp_path) == []


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    code = """
import os, sys
from pathlib import Path
from irvis_runtime.atomic import write_text
os.umask(int(sys.argv[1], 8))
write_text(Path(sys.argv[2]), "x")
print(oct(os.umask(0)))
"""
    for umask, mode in (("022", 0o644), ("027", 0o640), ("077", 0o600)):
        path = tmp_path / umask
        done = run_python(code, umask, path)
        assert done.stderr == ""
        assert path.stat().st_mode & 0o777 == mode
        assert int(done.stdout, 8) == int(umask, 8)


@pytest.mark.parametrize("mode", [0o640, 0o444, 0o666])
def test_a_file_that_is_replaced_hands_its_mode_on(tmp_path: Path, mode: int) -> None:
    path, other = tmp_path / "rig.toml", tmp_path / "rig.toml.bak"
    path.write_text("before")
    path.chmod(mode)
    with replacing(path) as temporary:
        temporary.write_text("after")
        assert temporary.stat().st_mode & 0o077 == mode & 0o077
    with replacing(other, like=path) as temporary:
        temporary.write_text("before")
    assert path.read_text() == "after"
    assert path.stat().st_mode & 0o777 == other.stat().st_mode & 0o777 == mode


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_roots_edit_leaves_a_file_to_its_owner(tmp_path: Path) -> None:
    """As /etc/irvis/rig.toml, which the service reads by its group."""
    path = tmp_path / "rig.toml"
    path.write_text("before")
    os.chown(path, 1, 2)
    with replacing(path) as temporary:
        temporary.write_text("after")
    assert (path.stat().st_uid, path.stat().st_gid) == (1, 2)


def test_the_umask_is_never_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the whole process's: a file that another thread makes meanwhile would be everybody's to write."""
    asked: list[int] = []

    def umask(mask: int) -> int:
        asked.append(mask)
        return 0o022

    monkeypatch.setattr(os, "umask", umask)
    write_text(tmp_path / "a.txt", "x")
    assert asked == []


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    """A limit on the file size fails the write as a full disk does, in the middle."""
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    code = """
import resource, signal, sys
from pathlib import Path
from irvis_runtime.atomic import write_bytes
from irvis_runtime.errors import ContractError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
try:
    write_bytes(Path(sys.argv[1]), bytes(20000))
except ContractError as error:
    print(error)
"""
    done = run_python(code, path)
    assert done.stdout == f"cannot write {path}: File too large; free some space or name another output\n"
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ContractError, match=r"cannot write .*; name an output in a writable folder"):
        write_text(tmp_path / "file" / "a.txt", "x")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(ContractError, match="Permission denied"):
        write_text(tmp_path / "a.txt", "x")


def test_a_name_too_long_is_told(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="File name too long"):
        write_text(tmp_path / ("n" * 300), "x")


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    with pytest.raises(ContractError, match="expected a file's name, got a folder; name another output"):
        write_text(tmp_path / "results", "x")
    assert names(tmp_path) == ["results"]


def test_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    """As root, a rename onto /dev/null would take it from the whole machine."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    for name in ("pipe", "null"):
        with pytest.raises(ContractError, match="got a pipe or a device"):
            write_text(tmp_path / name, "x")
    assert (tmp_path / "pipe").is_fifo()
    assert Path("/dev/null").is_char_device()


def test_a_link_stays_and_what_it_names_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    write_text(tmp_path / "real" / "a.txt", "old")
    link = tmp_path / "a.txt"
    link.symlink_to(Path("real") / "a.txt")
    write_text(link, "new")
    assert link.is_symlink()
    assert (tmp_path / "real" / "a.txt").read_text() == "new"
    assert names(tmp_path / "real") == ["a.txt"]


def test_another_files_failure_is_not_blamed_on_the_output(tmp_path: Path) -> None:
    missing = tmp_path / "input.bin"
    with pytest.raises(FileNotFoundError) as caught, replacing(tmp_path / "a.txt"):
        missing.read_bytes()
    assert caught.value.filename == str(missing)
    assert names(tmp_path) == []
