"""Buffers and arrays: the same bytes as PyGObject gives, by either way, and memory that lives long enough."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from irvis_runtime import buffers
from irvis_runtime.buffers import bytes_of, is_direct, new_buffer
from irvis_runtime.gstreamer import packed

pytestmark = pytest.mark.usefixtures("gstreamer")


@pytest.fixture(params=[True, False], ids=["direct", "by-pygobject"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Both ways; the second is taken where a buffer's address is unknown."""
    if request.param and not is_direct():
        pytest.skip("this PyGObject does not tell a buffer's address")
    monkeypatch.setattr(buffers, "is_direct", lambda: request.param)
    return bool(request.param)


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(["NV12", "GRAY8", "GRAY16"]))
def test_a_new_buffer_holds_the_packed_planes(height: int, width: int, form: str) -> None:
    rng = np.random.default_rng(height * 41 + width)
    planes = [rng.integers(0, 256, (height, width)).astype(np.uint16 if form == "GRAY16" else np.uint8)]
    if form == "NV12":
        planes.append(rng.integers(0, 256, (-(-height // 2), 2 * (-(-width // 2)))).astype(np.uint8))
    expected = packed(planes)
    buffer = new_buffer(planes)
    assert buffer.extract_dup(0, buffer.get_size()) == expected
    assert bytes_of(buffer).tobytes() == expected


def test_strided_planes_and_both_ways_give_the_same_bytes(way: bool) -> None:
    picture = np.arange(64, dtype=np.uint8).reshape(8, 8)[::2, :5]
    assert bytes_of(new_buffer([picture])).tobytes() == packed([picture])


def test_the_bytes_outlive_the_names_of_their_buffer(way: bool) -> None:
    content = bytes_of(new_buffer([np.full((480, 640), 7, np.uint8)]))[100:200]
    gc.collect()
    others = [new_buffer([np.full((480, 640), 9, np.uint8)]) for _ in range(20)]
    assert (content == 7).all()
    assert not content.flags.writeable
    assert len(others) == 20


def test_a_buffer_is_unmapped_with_its_last_array() -> None:
    if not is_direct():
        pytest.skip("this PyGObject does not tell a buffer's address")

    def mapped() -> int:
        gc.collect()
        return sum(type(thing).__name__ == "_Mapping" for thing in gc.get_objects())

    before = mapped()
    view = bytes_of(new_buffer([np.zeros((4, 4), np.uint8)]))[3:]
    assert mapped() == before + 1
    del view
    assert mapped() == before
