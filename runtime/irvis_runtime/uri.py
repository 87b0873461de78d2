"""Sources and sinks as URIs: `scheme://location?key=value&...`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import parse_qsl, unquote

from .config import from_letters
from .errors import ContractError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


@dataclass(frozen=True)
class Uri:
    """A parsed URI; `text` is what was written, `location` is unquoted."""

    text: str
    scheme: str
    location: str
    query: Mapping[str, str]


def parse_uri(text: str) -> Uri:
    """Splits `scheme://location?query`; ContractError for any other form, and for a key given twice."""
    scheme, separator, rest = text.partition("://")
    if not separator or not scheme:
        raise ContractError(f"{text!r}: expected a URI such as file:///path or v4l2:///dev/video0")
    location, _, query = rest.partition("?")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError as error:
        raise ContractError(
            f"{text}: expected ?key=value&key=value behind the location, got ?{query}"
        ) from error
    keys = [key for key, _ in pairs]
    for key in keys:
        if keys.count(key) > 1:
            raise ContractError(f"{text}: the key {key!r} is given twice; give it once")
    return Uri(text, scheme.lower(), unquote(location), dict(pairs))


def query_options(cls: type[T], uri: Uri) -> T:
    """Builds the dataclass `cls` from the query; ContractError names an unknown key's nearest."""
    return from_letters(cls, uri.query, uri.text)
