"""URIs of sources and sinks."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irvis_runtime.errors import ContractError
from irvis_runtime.uri import Uri, parse_uri, query_options, without_credentials


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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://admin:secret@10.0.0.2:554/live?a=b", "rtsp://10.0.0.2:554/live?a=b"),
        ("rtsp://admin:secret@[fe80::1]/live@1", "rtsp://[fe80::1]/live@1"),
        ("rtsp://admin@10.0.0.2/live", "rtsp://10.0.0.2/live"),
        ("rtsp://admin:2024/secret@camera/live", "rtsp://camera/live"),
        ("rtsp://10.0.0.2:8554/?from=rtsp://admin:secret@10.0.0.3/live", "rtsp://10.0.0.3/live"),
        ("rtsp:/admin:secret@10.0.0.2/live", "10.0.0.2/live"),
        # An @ of the camera's own.
        ("rtsp://10.0.0.2:554/live@1", "rtsp://10.0.0.2:554/live@1"),
        ("rtsp://[fe80::1]:554/live@1", "rtsp://[fe80::1]:554/live@1"),
        ("rtsp://camera.local/live?mail=a@b", "rtsp://camera.local/live?mail=a@b"),
        ("rtsp://admin:secret@10.0.0.2/live@1", "rtsp://10.0.0.2/live@1"),
        ("file:///films/take@1.mkv", "file:///films/take@1.mkv"),
    ],
)
def test_credentials_are_not_shown(text: str, shown: str) -> None:
    assert without_credentials(text) == shown


@given(st.text("ab@/?:#%.=&"))
def test_nothing_of_a_password_is_shown(password: str) -> None:
    assert without_credentials(f"rtsp://admin:{password}@camera/live") == "rtsp://camera/live"


@pytest.mark.parametrize(
    "text", ["rtps:/u:s/cret@host/x", "http://u:s/cret@host/x?y", "http://u:s/cret@host?a=1&a=2"]
)
def test_an_error_repeats_no_password(text: str) -> None:
    with pytest.raises(ContractError) as caught:
        parse_uri(text)
    assert "host" in str(caught.value)
    assert "cret" not in str(caught.value)
