"""URIs of sources and sinks."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irvis_runtime.errors import ContractError
from irvis_runtime.uri import Uri, parse_uri, query_options


@dataclass(frozen=True)
class Options:
    width: int = 1
    name: str = ""


def test_the_parts_of_a_uri() -> None:
    assert parse_uri("V4L2:///dev/v4l/by-id/usb-A%20B?width=640&name=x") == Uri(
        "V4L2:///dev/v4l/by-id/usb-A%20B?width=640&name=x",
        "v4l2",
        "/dev/v4l/by-id/usb-A B",
        {"width": "640", "name": "x"},
    )


def test_a_file_may_hold_a_hash_and_a_quoted_question_mark() -> None:
    assert parse_uri("file:///a/take #3 why%3F.mkv").location == "/a/take #3 why?.mkv"


def test_options_are_typed() -> None:
    assert query_options(Options, parse_uri("test://?width=12&name=7")) == Options(12, "7")


@pytest.mark.parametrize("text", ["", "a", "://", "/dev/video0", "file:/a", "test://?a", "test://?a=1&a=2"])
def test_a_text_that_is_no_uri_is_refused(text: str) -> None:
    with pytest.raises(ContractError):
        parse_uri(text)


@given(st.text(max_size=40))
def test_any_text_is_a_uri_or_a_contract_error(text: str) -> None:
    for candidate in (text, f"test://{text}"):
        try:
            uri = parse_uri(candidate)
            query_options(Options, uri)
        except ContractError:
            continue
        assert candidate.lower().startswith(f"{uri.scheme}://")
