"""A bounds-checked reader of the protobuf wire format: fields by number, copied nowhere.

The encoding: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from irvis_runtime.errors import ContractError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_BYTES = {_FIXED64: 8, _FIXED32: 4}
_MAX_VARINT_BYTES = 10
# Protobuf's own limit; a larger number is corruption.
_MAX_FIELD = (1 << 29) - 1

Value = int | memoryview | None
_T = TypeVar("_T", int, memoryview)


class Message:
    """One message, taken apart into its fields; nested messages are taken apart when asked for.

    ContractError where the bytes are no message, or a field has another wire type than asked for.
    """

    def __init__(self, content: memoryview, where: str, advice: str) -> None:
        """`where`: the file and the way to this message; it begins every error, and `advice` ends it."""
        self.where, self.advice = where, advice
        self._values: dict[int, list[Value]] = {}
        for number, value in self._fields(content):
            self._values.setdefault(number, []).append(value)

    def __contains__(self, number: int) -> bool:
        """Whether a field is there."""
        return number in self._values

    def error(self, expected: str, got: str) -> ContractError:
        """Returns the error that says what this message should be."""
        return ContractError(f"{self.where}: expected {expected}, got {got}; {self.advice}")

    def messages(self, number: int, name: str) -> list[Message]:
        """Returns the messages of a repeated field, in order; `name` goes into their `where`."""
        values = self._of_type(number, memoryview)
        if len(values) == 1:
            return [Message(values[0], f"{self.where}.{name}", self.advice)]
        return [
            Message(value, f"{self.where}.{name}[{index}]", self.advice) for index, value in enumerate(values)
        ]

    def message(self, number: int, name: str) -> Message | None:
        """Returns the message of a singular field, None where it is absent."""
        self._check_single(number)
        return next(iter(self.messages(number, name)), None)

    def text(self, number: int) -> str:
        """Returns the string of a singular field, empty where it is absent."""
        self._check_single(number)
        content = next(iter(self._of_type(number, memoryview)), memoryview(b""))
        try:
            return str(content, "utf-8")
        except UnicodeDecodeError as error:
            raise self.error(f"UTF-8 in field {number}", "other bytes") from error

    def integer(self, number: int) -> int | None:
        """Returns the signed 64-bit number of a singular field, None where it is absent."""
        self._check_single(number)
        for value in self._of_type(number, int):
            return value - (1 << 64) if value >> 63 else value
        return None

    def _check_single(self, number: int) -> None:
        # Protobuf lets the last one win or merges them: readers may then disagree about what the file says.
        count = len(self._values.get(number, ()))
        if count > 1:
            raise self.error(f"field {number} once", f"it {count} times")

    def _of_type(self, number: int, kind: type[_T]) -> list[_T]:
        values = [value for value in self._values.get(number, ()) if isinstance(value, kind)]
        if len(values) < len(self._values.get(number, ())):
            raise self.error(f"another wire type in field {number}", "one that does not fit")
        return values

    def _fields(self, content: memoryview) -> Iterator[tuple[int, Value]]:
        at = 0
        while at < len(content):
            key, at = self._varint(content, at)
            number, wire_type = key >> 3, key & 7
            if not 0 < number <= _MAX_FIELD:
                raise self.error("a protobuf message", f"field number {number}")
            if wire_type == _VARINT:
                value, at = self._varint(content, at)
                yield number, value
                continue
            if wire_type == _BYTES:
                size, at = self._varint(content, at)
            elif wire_type in _FIXED_BYTES:
                size = _FIXED_BYTES[wire_type]
            else:
                raise self.error("a protobuf message", f"wire type {wire_type} in field {number}")
            if size > len(content) - at:
                raise self.error(
                    "a whole file", f"field {number} of {size} bytes where {len(content) - at} are left"
                )
            yield number, content[at : at + size] if wire_type == _BYTES else None
            at += size

    def _varint(self, content: memoryview, at: int) -> tuple[int, int]:
        """Returns the unsigned number at a position and the position behind it."""
        value = 0
        for index, byte in enumerate(content[at : at + _MAX_VARINT_BYTES]):
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                if value >> 64:
                    raise self.error("numbers of at most 64 bits", "a longer one")
                return value, at + index + 1
        if len(content) - at >= _MAX_VARINT_BYTES:
            raise self.error(f"numbers of at most {_MAX_VARINT_BYTES} bytes", "a longer one")
        raise self.error("a whole file", "one that ends within a number")
