"""JSON without surprises: no duplicate keys, no NaN, no unknown keys, and the field's name in every error."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from .errors import ContractError

_MAX_DEPTH = 64
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class JsonValue:
    """A value and where it stands.

    Attributes:
        value: As Python's json gives it.
        where: The file.
        advice: What to do when it is wrong.
        field: The way to it from the root, such as `files.int8.path`; empty for the root.
    """

    value: object
    where: str
    advice: str
    field: str = ""

    def error(self, expected: str, got: str | None = None) -> ContractError:
        """Returns the error that says what was expected here; `got` replaces the value itself."""
        place = f"{self.where}: {self.field}" if self.field else self.where
        return ContractError(
            f"{place}: expected {expected}, got {shown(self.value) if got is None else got}; {self.advice}"
        )

    def child(self, key: str | int, value: object) -> JsonValue:
        """Returns the value that stands below this one under a key or an index."""
        if isinstance(key, int):
            return JsonValue(value, self.where, self.advice, f"{self.field}[{key}]")
        step = key if _PLAIN_KEY.fullmatch(key) else shown(key)
        if self.field:
            step = f".{step}"
        return JsonValue(value, self.where, self.advice, self.field + step)

    def mapping(self) -> dict[str, JsonValue]:
        """Returns the members of an object, whatever their names."""
        if not isinstance(self.value, dict):
            raise self.error("an object")
        return {key: self.child(key, value) for key, value in self.value.items()}

    def members(self, required: Sequence[str], optional: Sequence[str] = ()) -> dict[str, JsonValue]:
        """Returns the members of an object with all `required` keys, any of the `optional`, and no other."""
        members = self.mapping()
        known = [*required, *optional]
        for key, member in members.items():
            if key not in known:
                (nearest,) = get_close_matches(key[:64], known, n=1, cutoff=0.0)
                raise member.error(
                    f"one of the keys {', '.join(known)}", f"an unknown key (nearest: {nearest!r})"
                )
        for key in required:
            if key not in members:
                raise self.child(key, None).error("this key", "nothing")
        return members

    def elements(self) -> list[JsonValue]:
        """Returns the elements of an array."""
        if not isinstance(self.value, list):
            raise self.error("an array")
        return [self.child(index, value) for index, value in enumerate(self.value)]

    def text(self, pattern: re.Pattern[str], expected: str) -> str:
        """Returns a string that matches `pattern` as a whole."""
        if not isinstance(self.value, str) or not pattern.fullmatch(self.value):
            raise self.error(expected)
        return self.value

    def integer(self, low: int, high: int) -> int:
        """Returns a whole number within `low` and `high`, both included; 1.0 and true are none."""
        if type(self.value) is not int or not low <= self.value <= high:
            raise self.error(f"a whole number from {low} to {high}")
        return self.value

    def check_tree(self, depth: int = 0) -> None:
        """Raises ContractError unless all below is JSON: finite numbers, string keys, at most 64 levels."""
        if depth > _MAX_DEPTH:
            raise ContractError(
                f"{self.where}: expected at most {_MAX_DEPTH} levels, got more; {self.advice}"
            )
        if isinstance(self.value, float):
            if not math.isfinite(self.value):
                raise self.error("a finite number")
        elif isinstance(self.value, (Mapping, list, tuple)):
            for branch in self._branches():
                branch.check_tree(depth + 1)
        elif self.value is not None and not isinstance(self.value, (str, int)):
            raise self.error("a JSON value (object, array, string, number, true, false or null)")

    def _branches(self) -> Iterator[JsonValue]:
        if isinstance(self.value, Mapping):
            for key, value in self.value.items():
                if not isinstance(key, str):
                    raise self.error("strings as keys", f"the key {shown(key)}")
                yield self.child(key, value)
        elif isinstance(self.value, (list, tuple)):
            yield from (self.child(index, value) for index, value in enumerate(self.value))


def parse(text: str, where: str, advice: str) -> JsonValue:
    """Returns the root of a JSON text; `where` and `advice` begin and end every error about it."""

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        members = dict(pairs)
        if len(members) < len(pairs):
            ((twice, _),) = Counter(key for key, _ in pairs).most_common(1)
            raise ContractError(f"{where}: expected every key once, got {shown(twice)} twice; {advice}")
        return members

    try:
        root = JsonValue(json.loads(text, object_pairs_hook=unique), where, advice)
    except ContractError:
        raise
    except ValueError as error:
        raise ContractError(f"{where}: expected JSON, got something else ({error}); {advice}") from error
    except RecursionError as error:
        raise ContractError(f"{where}: expected at most {_MAX_DEPTH} levels, got more; {advice}") from error
    root.check_tree()
    return root


def to_json(value: object, where: str, advice: str) -> str:
    """Returns a value as indented JSON text that `parse` takes.

    Mappings become objects, lists and tuples arrays. ContractError names the field that JSON cannot hold.
    """
    JsonValue(value, where, advice).check_tree()
    try:
        return json.dumps(value, indent=2, allow_nan=False, default=dict) + "\n"
    except ValueError as error:
        raise ContractError(
            f"{where}: expected values that JSON can hold, got others ({error}); {advice}"
        ) from error


def shown(value: object) -> str:
    """A value on one line, cut where it is long."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"
