from __future__ import annotations

import pytest

from irvis_runtime import ContractError
from irvis_runtime.cli import Parser


def parser() -> Parser:
    made = Parser(prog="irvis sample", description="A sample.")
    made.add_argument("path")
    made.add_argument("--count", type=int, default=3)
    made.add_argument("--mode", choices=("a", "b"))
    return made


def test_parses_as_argparse_does() -> None:
    arguments = parser().parse_args(["x.png", "--count", "5"])
    assert (arguments.path, arguments.count, arguments.mode) == ("x.png", 5, None)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "irvis sample: the following arguments are required: path; `irvis sample --help` tells more"),
        (["x", "--count", "many"], "irvis sample: argument --count: invalid int value: 'many'; "),
        (["x", "--count"], "irvis sample: argument --count: expected one argument; "),
        (["x", "--mode", "c"], "irvis sample: argument --mode: invalid choice: 'c'"),
        (["x", "y", "z"], "irvis sample: unrecognized arguments: y z; "),
        (["x", "--colour"], "irvis sample: unrecognized arguments: --colour; "),
    ],
)
def test_errors_are_one_line_and_no_exit(
    words: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ContractError) as caught:
        parser().parse_args(words)
    assert str(caught.value).startswith(expected)
    assert "\n" not in str(caught.value)
    assert capsys.readouterr() == ("", "")


def test_help_exits_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parser().parse_args(["--help"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("usage: irvis sample ")


def test_sub_commands_have_the_same_errors() -> None:
    made = Parser(prog="irvis sample")
    made.add_subparsers(required=True).add_parser("one").add_argument("--count", type=int)
    with pytest.raises(ContractError, match="irvis sample one: argument --count: invalid int value: 'x'"):
        made.parse_args(["one", "--count", "x"])
