"""Configuration: frozen dataclasses filled from TOML files and `key=value` arguments.

A field is documented by `field(metadata={"doc": "..."})`; `describe` lists all of them.
"""

from __future__ import annotations

import difflib
import math
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from .errors import ContractError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")

_SCALAR_NAMES: dict[type, str] = {
    str: "a string",
    Path: "a path",
    int: "an integer",
    float: "a number",
    bool: "true or false",
}


@dataclass(frozen=True)
class _Argument:
    """A value of the command line: what it is as TOML, and its letters where a string is wanted."""

    letters: str
    value: object


def from_mapping(cls: type[T], mapping: Mapping[str, Any], where: str) -> T:
    """Builds the dataclass `cls` from parsed TOML; `where` (a file name) begins every error text.

    Field types: str, int, float, bool, Path, Literal, Optional, tuples, and dataclasses, nested at will. An
    integer is accepted for a float, a bool never for a number. ContractError for an unknown key (naming the
    nearest), a missing one, a wrong type, a number that is not finite, and what `__post_init__` refuses.
    """
    init_fields = {field.name: field for field in fields(cls) if field.init}
    for key in mapping:
        if key not in init_fields:
            raise ContractError(f"{where}: unknown key {key!r}; {nearest(key, init_fields)}")
    for name, field in init_fields.items():
        if name not in mapping and field.default is MISSING and field.default_factory is MISSING:
            doc = f" ({field.metadata['doc']})" if "doc" in field.metadata else ""
            raise ContractError(f"{where}: missing key {name!r}{doc}; add it")
    hints = get_type_hints(cls)
    values = {key: _converted(hints[key], value, f"{where}: {key}") for key, value in mapping.items()}
    try:
        return cls(**values)
    except ContractError as error:
        raise ContractError(f"{where}: {error}") from error


def from_letters(cls: type[T], letters: Mapping[str, str], where: str) -> T:
    """Builds `cls` from strings, as in a query or on the command line: each is TOML, or else a string."""
    return from_mapping(
        cls, {key: _Argument(text, _toml_value(text)) for key, text in letters.items()}, where
    )


def load_config(cls: type[T], path: Path | None, overrides: Sequence[str] = ()) -> T:
    """Builds `cls` from a TOML file (None: from its defaults), changed by `key=value` arguments.

    Dotted keys reach into nested dataclasses; a value is TOML, and what is not TOML is taken as a string.
    """
    mapping = {} if path is None else read_toml(path)
    for override in overrides:
        _override(mapping, override)
    sources = ([str(path)] if path is not None else []) + (["command line"] if overrides else [])
    return from_mapping(cls, mapping, " + ".join(sources) or "configuration")


def read_toml(path: Path) -> dict[str, Any]:
    """Returns the parsed file; ContractError where it cannot be read or is not TOML."""
    try:
        # Windows' Notepad begins a file with a byte order mark.
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ContractError(f"{path}: cannot be read ({error.strerror}); expected a TOML file") from error
    except UnicodeDecodeError as error:
        raise ContractError(
            f"{path}: expected TOML in UTF-8, got other bytes at {error.start}; save it as UTF-8"
        ) from error
    return parse_toml(text, path)


def parse_toml(text: str, where: str | Path) -> dict[str, Any]:
    """Returns the parsed text; ContractError, beginning with `where`, where it is not TOML."""
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ContractError(f"{where}: not TOML: {error}; correct that line") from error


def to_mapping(config: DataclassInstance) -> dict[str, Any]:
    """Returns the configuration as dicts, lists and plain values, for JSON; `from_mapping` takes it back."""
    return {field.name: _plain(getattr(config, field.name)) for field in fields(config) if field.init}


def describe(cls: type[DataclassInstance]) -> str:
    """Returns one line a field: its dotted key, type, default and documentation."""
    rows = list(_rows(cls, ""))
    width = max((len(row[0]) for row in rows), default=0)
    return "\n".join(f"  {head:<{width}}  {doc}".rstrip() for head, doc in rows)


def nearest(name: str, known: Mapping[str, object] | Sequence[str]) -> str:
    """Returns the part of an error text that names the nearest known name, or all where none is near."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else f"expected one of: {', '.join(known) or 'nothing'}"


def _converted(expected: Any, value: object, where: str) -> Any:
    origin = get_origin(expected)
    if origin in (Union, types.UnionType):
        return _converted_optional(expected, value, where)
    if isinstance(value, _Argument):
        is_text = expected in (str, Path) or origin is Literal
        value = value.letters if is_text and not isinstance(value.value, str) else value.value
    if origin is Literal:
        if any(value == choice and type(value) is type(choice) for choice in get_args(expected)):
            return value
        known = ", ".join(map(repr, get_args(expected)))
        raise ContractError(f"{where}: expected one of {known}, got {_shown(value)}")
    if origin is tuple:
        return _converted_tuple(expected, value, where)
    if is_dataclass(expected) and isinstance(expected, type):
        if isinstance(value, Mapping):
            return from_mapping(expected, value, where)
        raise ContractError(f"{where}: expected a table, got {_shown(value)}")
    return _converted_scalar(expected, value, where)


def _converted_optional(expected: Any, value: object, where: str) -> Any:
    members = [member for member in get_args(expected) if member is not types.NoneType]
    if value is None:
        return None
    if len(members) != 1:
        raise TypeError(f"{where}: a field may be one type or None, not {expected}")
    return _converted(members[0], value, where)


def _converted_tuple(expected: Any, value: object, where: str) -> tuple[Any, ...]:
    members = get_args(expected)
    if not isinstance(value, list | tuple):
        raise ContractError(f"{where}: expected a list, got {_shown(value)}; write it in brackets")
    if len(members) == 2 and members[1] is Ellipsis:
        members = (members[0],) * len(value)
    if len(members) != len(value):
        raise ContractError(f"{where}: expected a list of {len(members)}, got {len(value)} values")
    return tuple(
        _converted(member, item, f"{where}[{index}]")
        for index, (member, item) in enumerate(zip(members, value, strict=True))
    )


def _converted_scalar(expected: Any, value: object, where: str) -> Any:
    name = _SCALAR_NAMES.get(expected)
    if name is None:
        raise TypeError(f"{where}: a field cannot be of type {expected}")
    if expected is float and isinstance(value, int | float) and not isinstance(value, bool):
        with suppress(OverflowError):
            if math.isfinite(value):
                return float(value)
        raise ContractError(f"{where}: expected a finite number, got {_shown(value)}")
    if expected is Path and isinstance(value, str | Path):
        return Path(value)
    if type(value) is expected:
        return value
    raise ContractError(f"{where}: expected {name}, got {_shown(value)}")


def _override(mapping: dict[str, Any], override: str) -> None:
    """Writes one `key=value` into the mapping; tables on the way are made."""
    key, equals, letters = override.partition("=")
    names = key.strip().split(".")
    if not equals or not all(names):
        raise ContractError(f"command line: expected key=value, got {override!r}")
    table = mapping
    for depth, name in enumerate(names[:-1], start=1):
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise ContractError(
                f"command line: {override!r}: {'.'.join(names[:depth])} is not a table; give it whole"
            )
    table[names[-1]] = _Argument(letters, _toml_value(letters))


def _toml_value(letters: str) -> object:
    try:
        parsed = tomllib.loads(f"value = {letters}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return letters
    return parsed["value"] if len(parsed) == 1 else letters


def _plain(value: object) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return to_mapping(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _rows(cls: type[DataclassInstance], prefix: str) -> Iterator[tuple[str, str]]:
    hints = get_type_hints(cls)
    for field in fields(cls):
        expected, suffix = hints[field.name], ""
        members = get_args(expected)
        if get_origin(expected) is tuple and members[1:] == (Ellipsis,) and is_dataclass(members[0]):
            expected, suffix = members[0], "[]"
        if is_dataclass(expected) and isinstance(expected, type):
            yield from _rows(expected, f"{prefix}{field.name}{suffix}.")
        elif field.init:
            default = _default_text(field)
            yield f"{prefix}{field.name}: {_type_text(expected)}{default}", field.metadata.get("doc", "")


def _default_text(field: Field[Any]) -> str:
    if field.default is not MISSING:
        return f" = {_plain(field.default)!r}"
    return (
        f" = {_plain(field.default_factory())!r}" if field.default_factory is not MISSING else " (required)"
    )


def _type_text(expected: Any) -> str:
    origin, members = get_origin(expected), get_args(expected)
    if origin is Literal:
        return " | ".join(map(repr, members))
    if origin in (Union, types.UnionType):
        return " | ".join(_type_text(member) for member in members if member is not types.NoneType)
    if origin is tuple:
        inner = ", ".join("..." if member is Ellipsis else _type_text(member) for member in members)
        return f"[{inner}]"
    return getattr(expected, "__name__", str(expected))
