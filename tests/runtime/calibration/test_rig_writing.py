"""The rig file after calibration: the homography is there, every other byte is where it was."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irvis_runtime.calibration.rig_writing import rounded, with_values, write_registration
from irvis_runtime.config import parse_toml, read_toml
from irvis_runtime.errors import ContractError

NEW_33 = np.array([[1.5, 0.01, -3.25], [-0.01, 1.5, 7.0], [1e-6, 0, 1]])
NEW = rounded(NEW_33)
LINE = "homography = [[1.5, 0.01, -3.25], [-0.01, 1.5, 7.0], [1e-06, 0.0, 1.0]]"
CAMERAS = '[visible]\nsource = "test://"\n[infrared]\nsource = "test://"\n'


def edited(text: str) -> str:
    result = with_values(text, {"homography": NEW})
    assert result is not None
    return result


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (CAMERAS, f"{CAMERAS}\n[registration]\n{LINE}\n"),
        (CAMERAS.rstrip("\n"), f"{CAMERAS}\n[registration]\n{LINE}\n"),
        ("", f"[registration]\n{LINE}\n"),
        ("[registration]", f"[registration]\n{LINE}\n"),
        (
            '[registration] # why\ncrop = "common"\n[[output]]\n',
            f'[registration] # why\n{LINE}\ncrop = "common"\n[[output]]\n',
        ),
        (
            "[ registration ]\n\thomography=[[1,0,0],[0,1,0],[0,0,1]]   # infrared -> visible\nx=1",
            f"[ registration ]\n\thomography={LINE[13:]}   # infrared -> visible\nx=1",
        ),
        (
            "[registration]\nhomography = [ # rows ]]\n  [1, 0, 0],\n [0, 1, 0], # ]\n [0, 0, 1],\n]\n[a]\n",
            f"[registration]\n{LINE}\n[a]\n",
        ),
        ("[a]\r\nb=1\r\n", f"[a]\r\nb=1\r\n\r\n[registration]\r\n{LINE}\r\n"),
        (
            'text = """\n[registration]\nhomography = 1\n"""\n',
            f'text = """\n[registration]\nhomography = 1\n"""\n\n[registration]\n{LINE}\n',
        ),
        (
            "[registration]\n# homography = [[9, 9, 9]]\n[b]\nhomography = 5\n",
            f"[registration]\n{LINE}\n# homography = [[9, 9, 9]]\n[b]\nhomography = 5\n",
        ),
    ],
)
def test_only_the_homography_is_touched(before: str, after: str) -> None:
    assert edited(before) == after


KEYS = st.text("abc_-", min_size=1, max_size=4)
STRINGS = st.sampled_from(
    [
        '"a # b"',
        "'[registration]'",
        '"""\n[registration]\nhomography = 1\n"""',
        "'''a''b\n'''",
        r'"\" [x] \\"',
    ]
)
VALUES = st.recursive(
    st.one_of(st.integers(-9, 9).map(str), st.booleans().map(lambda flag: str(flag).lower()), STRINGS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: "[" + ", ".join(items) + "]"),
        st.lists(inner, min_size=1, max_size=3).map(
            lambda items: "[\n" + "".join(f"  {item}, # it's ] \"\n" for item in items) + "]"
        ),
        st.lists(st.tuples(KEYS, st.integers(0, 9).map(str)), max_size=2, unique_by=lambda pair: pair[0]).map(
            lambda pairs: "{" + ", ".join(f"{key} = {value}" for key, value in pairs) + "}"
        ),
    ),
    max_leaves=5,
)
REMARKS = st.sampled_from(["", " # plain", '  # "it\'s" [registration] = ['])


@st.composite
def tables(draw: st.DrawFn, names: tuple[str, ...]) -> str:
    """Tables in a drawn order, with drawn keys; [registration] may have a homography or not."""
    text = ""
    for name in draw(st.permutations(names)):
        text += f"[{name}]{draw(REMARKS)}\n"
        pairs = draw(st.lists(st.tuples(KEYS, VALUES), max_size=3, unique_by=lambda pair: pair[0]))
        lines = [f"{key} = {value}{draw(REMARKS)}\n" for key, value in pairs]
        if name == "registration" and draw(st.booleans()):
            at = draw(st.integers(0, len(lines)))
            lines.insert(at, f"homography = {draw(st.sampled_from(MATRICES))}{draw(REMARKS)}\n")
        text += "".join(lines) + draw(st.sampled_from(["", "\n", "# [registration]\n"]))
    return text.replace("\n", "\r\n") if draw(st.booleans()) else text


MATRICES = ("[[1, 0, 0], [0, 1, 0], [0, 0, 1]]", "[\n [1, 0, 0], # a ]\n [0, 1, 0],\n [0, 0, 1] ]")


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        tables(("visible", "registration", "infrared")),
        tables(("visible", "infrared")),
        tables(("registration",)),
    )
)
def test_the_edited_file_parses_to_the_same_but_for_the_homography(text: str) -> None:
    before = parse_toml(text, "before")
    expected: dict[str, Any] = dict(before)
    expected["registration"] = {**before.get("registration", {}), "homography": NEW}
    once = edited(text)
    assert parse_toml(once, "after") == expected
    assert edited(once) == once


def test_the_file_is_replaced_and_the_former_one_kept(tmp_path: Path) -> None:
    path = tmp_path / "rig.toml"
    path.write_bytes(b"# h\xc3\xa4nd-made\r\n[registration]\r\n")
    path.chmod(0o640)
    former = write_registration(path, NEW_33, (512, 640), (720, 1280))
    assert former == tmp_path / "rig.toml.bak"
    assert former.read_bytes() == b"# h\xc3\xa4nd-made\r\n[registration]\r\n"
    written = (LINE, "infrared_size = [640, 512]", "visible_size = [1280, 720]")
    assert path.read_bytes() == b"\r\n".join(
        [b"# h\xc3\xa4nd-made", b"[registration]", *(line.encode() for line in written), b""]
    )
    assert path.stat().st_mode & 0o777 == former.stat().st_mode & 0o777 == 0o640
    assert sorted(file.name for file in tmp_path.iterdir()) == ["rig.toml", "rig.toml.bak"]


@pytest.mark.parametrize("text", ["[registration]\r\n", "", "# none\r\n"])
def test_a_byte_order_mark_stays_at_the_beginning(tmp_path: Path, text: str) -> None:
    """Windows' Notepad, "UTF-8 with BOM"."""
    marked, plain = tmp_path / "marked.toml", tmp_path / "plain.toml"
    marked.write_bytes(codecs.BOM_UTF8 + text.encode())
    plain.write_bytes(text.encode())
    former = write_registration(marked, NEW_33, (512, 640), (720, 1280))
    write_registration(plain, NEW_33, (512, 640), (720, 1280))
    assert marked.read_bytes() == codecs.BOM_UTF8 + plain.read_bytes()
    assert former.read_bytes() == codecs.BOM_UTF8 + text.encode()
    assert read_toml(marked) == read_toml(plain)


def test_sizes_are_replaced_where_they_stand() -> None:
    text = (
        "[registration]\nvisible_size = [1, 2] # old\ncrop = 'none'\nhomography = [[9]]\n"
        "[a]\nvisible_size=[3]\n"
    )
    after = with_values(text, {"homography": NEW, "infrared_size": [8, 6], "visible_size": [16, 12]})
    assert after == (
        f"[registration]\ninfrared_size = [8, 6]\nvisible_size = [16, 12] # old\ncrop = 'none'\n{LINE}\n"
        "[a]\nvisible_size=[3]\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        "registration.homography = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]\n",
        "registration = { crop = 'none' }\n",
        "[registration]\nhomography = 5\n",
        "[registration.inner]\na = 1\n[registration]\nhomography.a = 1\n",
    ],
)
def test_what_cannot_be_edited_safely_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rig.toml"
    path.write_text(text)
    with pytest.raises(ContractError, match="cannot put the homography in"):
        write_registration(path, NEW_33, (512, 640), (720, 1280))
    assert path.read_text() == text
    assert [file.name for file in tmp_path.iterdir()] == ["rig.toml"]
