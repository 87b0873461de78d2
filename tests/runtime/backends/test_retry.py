"""How long is waited before something that failed is tried again."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from irvis_runtime.backends import retry
from irvis_runtime.backends.retry import FIRST_S, Retry, after_failure


def test_waits_double_from_a_minute_to_half_an_hour() -> None:
    last: Retry | None = None
    waits = []
    for _ in range(8):
        last = after_failure(last)
        waits.append(last.text.removeprefix("tried again in "))
    assert waits == ["60 s", "2 min", "4 min", "8 min", "16 min", "30 min", "30 min", "30 min"]


def test_it_is_due_when_the_wait_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 1000.0
    monkeypatch.setattr(retry, "time", SimpleNamespace(monotonic=lambda: now_s))
    first, final = after_failure(None), after_failure(Retry(), is_final=True)
    assert not first.is_due
    now_s += FIRST_S - 0.5
    assert not first.is_due
    now_s += 0.5
    assert first.is_due
    now_s += 1e9
    assert (final.is_due, final.text) == (False, "not tried again")
