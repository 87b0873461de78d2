from __future__ import annotations

import html
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from irvis_runtime.report.markup import element, escape, escape_markdown, printable
from irvis_runtime.report.numbers import TIMES, speed_up


@settings(deadline=None)
@given(st.text())
def test_escaped_text_comes_back_as_text(text: str) -> None:
    shown = html.unescape(escape(text))
    assert element("p", text, title=text) == f'<p title="{escape(text)}">{escape(text)}</p>'
    assert not set(escape(text)) & set("<>\"'")
    assert shown == printable(text)
    assert len(shown) == len(text)


@settings(deadline=None)
@given(st.text())
@example("one\u2028two\u2029three")
def test_markdown_text_stays_in_its_cell(text: str) -> None:
    escaped = escape_markdown(text)
    assert len(escaped.splitlines()) <= 1
    assert not re.search(r"(?<!\\)(\\\\)*\|", escaped)
    assert "<" not in escaped


def test_markup_is_not_escaped_twice() -> None:
    assert element("p", escape("a & b"), element("b", "<")) == "<p>a &amp; b<b>&lt;</b></p>"


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(0.1, "10.0x faster"), (0.8, "1.25x faster"), (1.01, "equal"), (1.5, "1.50x slower"), (0.0, "-")],
)
def test_ratios_are_told_in_words(ratio: float, text: str) -> None:
    assert speed_up(ratio) == text.replace("x", TIMES)
