"""Power lost at any command of install.sh leaves a board that starts; the next run succeeds.

After the loss the disk has every name, and every file that was written since the last sync is empty: ext4
gives a file its blocks up to 30 seconds after its name.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import FIRST, Board

LINES = Path(__file__).parent / "power.sh"
UNITS = "etc/systemd/system"
# What install.sh writes itself; apt and useradd see to their own files.
WRITTEN = ("opt", "etc/irvis", UNITS)
# Among the commands that are counted, those that only read: a loss before them is one before the next.
READS = (
    "cat ",
    "sed ",
    'unit_text "$name"',
    "in_root dpkg-query",
    "in_root id",
    "in_root systemctl is-enabled",
    'in_root "$PYTHON" -c',
)
WRITES = '> "'
# What `change` runs: apt-get, useradd, systemctl enable.
CHANGE = '"$@"'
SWITCH = 'mv -T "$link.new" "$link"'

Arguments = Callable[[Board], list[str]]


def test_a_board_that_loses_power_around_the_switch_starts_from_something_whole(tmp_path: Path) -> None:
    commands = _commands(_made(tmp_path / "whole"), [])
    switch = commands.index(SWITCH) + 1

    for number in (switch, switch + 1, len(commands)):
        _lose_power_and_recover(tmp_path / str(number), number, _fresh)


@pytest.mark.slow
def test_a_first_installation_is_completed_by_the_next_run(tmp_path: Path) -> None:
    _lose_power_everywhere(tmp_path, _fresh)


@pytest.mark.slow
def test_an_update_that_is_cut_off_leaves_one_of_the_two_environments(tmp_path: Path) -> None:
    _lose_power_everywhere(tmp_path, _installed)


def test_an_environment_that_came_back_empty_is_made_anew_beside_itself(board: Board) -> None:
    """As an installer that does not sync left it: all names are there, and .complete is one of them."""
    board.install()
    wheel = board.root / "opt/irvis/releases" / FIRST / board.wheel.name
    wheel.write_bytes(b"")

    failed = board.install()
    assert (failed.code, board.current()) == (2, f"releases/{FIRST}")
    assert "the new installation does not work" in failed.error
    again = board.install()

    assert again.code == 0
    assert board.current() == f"releases/{FIRST}-again"
    assert board.install().out.endswith("Nothing changed.\n")


def test_an_environment_that_fails_its_proof_stays_in_use(board: Board) -> None:
    """The service may be running from it, and what the proof found may be the system's fault."""
    board.install()
    board.set("fails", "python -I - ")
    for _ in range(2):
        assert board.install().code == 2
        assert board.current() == f"releases/{FIRST}"
        assert board.releases() == [FIRST]
        assert (board.root / "opt/irvis/venv/bin/irvis").exists()
    board.unset("fails")

    # and so by turns
    for name in (f"{FIRST}-again", FIRST):
        assert board.install().code == 0
        assert board.current() == f"releases/{name}"
        board.set("fails", "python -I - ")
        assert board.install().code == 2
        board.unset("fails")


def test_what_cannot_be_synced_is_not_used(board: Board) -> None:
    board.set("fails", "sync -f .*/releases")

    run = board.install()

    assert run.code == 2
    assert "to the disk; run install.sh again" in run.error
    assert not (board.root / "opt/irvis/venv").exists()
    assert board.releases() == []


def _fresh(board: Board) -> list[str]:
    return ["--model", str(board.make_model())]


def _installed(board: Board) -> list[str]:
    """An installation with a way back, of which the wheel and the model are to be replaced."""
    model = board.make_model()
    assert board.install("--model", str(model)).code == 0
    board.set("version", "0.2.0")
    assert board.install("--model", str(model), wheel=board.make_wheel("0.2.0")).code == 0
    (model / "manifest.json").write_text('{"schema": 2}')
    board.set("version", "0.3.0")
    return ["--model", str(model), "--wheel", str(board.make_wheel("0.3.0"))]


def _made(folder: Path) -> Board:
    folder.mkdir()
    return Board(folder)


def _commands(board: Board, arguments: list[str], power_loss: int = 0) -> list[str]:
    """The commands of install.sh that may write, up to the loss."""
    log = board.folder / "power"
    board.environment = {"BASH_ENV": str(LINES), "POWER_LOG": str(log), "POWER_LOSS": str(power_loss)}
    run = board.install(*arguments)
    board.environment = {}
    assert run.code == (-signal.SIGKILL if power_loss else 0), run.error
    return log.read_text().splitlines()


def _lose_power_everywhere(folder: Path, prepare: Arguments) -> None:
    board = _made(folder / "whole")
    commands = _commands(board, prepare(board))

    # A function is told twice: as it is called, and as it begins.
    numbers = [
        number
        for number, (command, before) in enumerate(zip(commands, ["", *commands], strict=False), start=1)
        if command == CHANGE or (command != before and (WRITES in command or not command.startswith(READS)))
    ]
    assert len(numbers) > 30
    for number in numbers:
        _lose_power_and_recover(folder / str(number), number, prepare)


def _lose_power_and_recover(folder: Path, number: int, prepare: Arguments) -> None:
    board = _made(folder)
    arguments = prepare(board)
    last = f"power lost before command {number}, {_commands(board, arguments, number)[-1]}"
    _empty_what_was_not_synced(board)
    assert _broken(board) == [], last

    run = board.install(*arguments)

    assert run.code == 0, f"{last}: {run.error}"
    assert _broken(board) == [], last
    assert (board.root / "opt/irvis/venv").is_symlink(), last
    assert [path for part in WRITTEN for path in (board.root / part).rglob("*.new")] == [], last
    assert board.install(*arguments).out.endswith("Nothing changed.\n"), last


def _empty_what_was_not_synced(board: Board) -> None:
    marker = board.state / "synced"
    synced_ns = marker.stat().st_mtime_ns if marker.exists() else 0
    for part in WRITTEN:
        for path in (board.root / part).rglob("*"):
            if path.is_file() and not path.is_symlink() and path.stat().st_mtime_ns > synced_ns:
                os.truncate(path, 0)


def _broken(board: Board) -> list[str]:
    """What would be used at the next start, and cannot be."""
    root = board.root
    used = [root / "etc/irvis/rig.toml", root / "opt/irvis/models/mine/manifest.json"]
    used += (root / UNITS).glob("irvis*.service")
    used += (root / UNITS).glob("irvis*.path")
    link = root / "opt/irvis/venv"
    used += link.glob("*.whl")
    broken = [path for path in used if path.exists() and not path.read_bytes()]
    if link.is_symlink() and not ((link / ".complete").exists() and (link / "bin/irvis").exists()):
        broken.append(link)
    return [str(path) for path in broken]
