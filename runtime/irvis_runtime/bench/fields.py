"""Frozen dataclasses to strict JSON and back: their types are the schema, and an error names the field."""

from __future__ import annotations

import dataclasses
import json
import math
from functools import lru_cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from irvis_runtime.errors import ContractError
from irvis_runtime.strict_json import JsonValue

Dataclass = TypeVar("Dataclass")

SIGNIFICANT_DIGITS = 6


def to_json(value: object) -> str:
    """A dataclass as strict JSON, floats rounded to 6 digits; ContractError where a number is not finite."""
    try:
        return json.dumps(_plain(value), indent=1, allow_nan=False) + "\n"
    except ValueError as error:
        raise ContractError(f"expected finite measurements, got another ({error}); measure again") from error


def read_fields(cls: type[Dataclass], value: JsonValue) -> Dataclass:
    """Reads a dataclass from a JSON object: every field must be there, of its type, and no other.

    Field types: str, int, float, bool, object (any JSON), X | None, tuple[X, ...], dict[str, X], dataclasses.
    ContractError names the first field that is wrong.
    """
    hints = _hints(cast(Any, cls))
    members = value.members(list(hints))
    return cls(**{name: _read(kind, members[name]) for name, kind in hints.items()})


@lru_cache
def _hints(cls: type[object]) -> dict[str, Any]:
    """Each field's type; resolving the annotations of thousands of rows takes seconds otherwise."""
    return get_type_hints(cls)


def _read(kind: Any, value: JsonValue) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        (inner,) = (argument for argument in arguments if argument is not NoneType)
        return None if value.value is None else _read(inner, value)
    if origin is tuple:
        return tuple(_read(arguments[0], element) for element in value.elements())
    if origin is dict:
        return {key: _read(arguments[1], member) for key, member in value.mapping().items()}
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return read_fields(kind, value)
    return _read_scalar(kind, value)


def _read_scalar(kind: Any, value: JsonValue) -> Any:
    is_integer = type(value.value) is int and abs(value.value) < 1 << 53
    if kind is object or (type(value.value) is kind and (is_integer or kind is not int)):
        return value.value
    if kind is float and type(value.value) is int and is_integer:
        return float(value.value)
    kinds = {float: "a number", int: "an integer of 53 bits", str: "a text", bool: "true or false"}
    raise value.error(kinds[kind])


def _plain(value: object) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and math.isfinite(value):
        return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
    return value
