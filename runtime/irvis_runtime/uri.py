"""Sources and sinks as URIs: `scheme://location?key=value&...`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import parse_qsl, unquote

from .config import from_letters
from .errors import ContractError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")

_IP_ADDRESS = re.compile(r"(\d+(\.\d+){3}|\[[^]@/]*\])(:\d+)?(?=[/?])")


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
        shown = without_credentials(text)
        raise ContractError(f"{shown!r}: expected a URI such as file:///path or v4l2:///dev/video0")
    location, _, query = rest.partition("?")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError as error:
        raise ContractError(
            f"{without_credentials(text)}: expected ?key=value&key=value behind the location"
        ) from error
    keys = [key for key, _ in pairs]
    for key in keys:
        if keys.count(key) > 1:
            raise ContractError(f"{without_credentials(text)}: the key {key!r} is given twice; give it once")
    return Uri(text, scheme.lower(), unquote(location), dict(pairs))


def query_options(cls: type[T], uri: Uri) -> T:
    """Builds the dataclass `cls` from the query; ContractError names an unknown key's nearest."""
    return from_letters(cls, uri.query, uri.text)


def without_credentials(text: str) -> str:
    """The URI as it may be shown: without `user:password@`, in doubt without all that stands before an @."""
    scheme, separator, location = text.partition("://")
    if not separator:
        scheme, location = "", text
    return f"{scheme}{separator}{location[len(credentials_in(location)) :]}"


def credentials_in(location: str) -> str:
    """What of `user:password@host/path` is not to be shown, "" where nothing is.

    A path or query may hold an @ of its own, and a password that was not quoted an @, a / or a ?: in doubt it
    is all up to the last @. There is none where no ':' stands before the @, or an IP address and nothing else
    with a ':' does.
    """
    authority = re.split("[/?]", location, maxsplit=1)[0]
    if "@" not in authority and ":" not in location.rpartition("@")[0]:
        return ""
    start = 0
    while (at := location.rfind("@")) >= start:
        address = _IP_ADDRESS.match(location, start)
        if address is not None and ":" not in location[address.end() : at]:
            break
        start = location.index("@", start) + 1
    return location[:start]
