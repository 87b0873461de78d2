from __future__ import annotations

import io
import re
import sys

import pytest

from irvis_runtime import progress
from irvis_runtime.progress import Progress


class Terminal(io.StringIO):
    """A stderr that redraws."""

    def isatty(self) -> bool:
        return True


class Clock:
    """Seconds that pass only when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


def test_a_log_gets_the_last_line_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("reading", 3) as shown:
        for note in "abc":
            shown.step(note)
    assert capsys.readouterr().err == "reading 3/3 (0:00) c\n"


def test_a_log_gets_a_line_every_15_seconds(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("training", 100) as shown:
        for _ in range(40):
            clock.now += 1.0
            shown.step("loss 0.1")
    assert capsys.readouterr().err.splitlines() == [
        "training 15/100 (0:15, 1:25 left) loss 0.1",
        "training 30/100 (0:30, 1:10 left) loss 0.1",
        "training 40/100 (0:40, 1:00 left) loss 0.1",
    ]


def test_what_is_left_is_judged_by_this_run(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """A resumed run starts at 500, which took it no time."""
    with Progress("training", 4120, start=500) as shown:
        clock.now += 20.0
        shown.step(count=20)
    assert capsys.readouterr().err.splitlines()[0] == "training 520/4120 (0:20, 1:00:00 left)"


def test_a_failure_draws_no_last_line_into_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="broken"), Progress("reading", 3):
        raise ValueError("broken")
    assert capsys.readouterr().err == ""


def test_a_terminal_is_redrawn_ten_times_a_second_at_most(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with Progress("reading", 1000) as shown:
        for _ in range(1000):
            clock.now += 0.01
            shown.step()
    text = screen.getvalue()
    assert text.endswith("reading 1000/1000 (0:10)\n")
    assert 90 <= text.count("\r\x1b[K") <= 102
    assert text.count("\n") == 1


def test_a_failure_ends_the_terminals_line(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with pytest.raises(ValueError, match="broken"), Progress("reading", 3):
        raise ValueError("broken")
    assert re.fullmatch(r"\r\x1b\[Kreading 0/3 \(0:00\)\n", screen.getvalue())
