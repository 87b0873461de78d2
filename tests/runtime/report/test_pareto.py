from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from irvis_runtime.report.pareto import Point, front_of, pareto_chart

SVG = "{http://www.w3.org/2000/svg}"
FAST = Point("n INT8", 32.0, 24.0)
MIDDLE = Point("s INT8", 17.0, 27.0)
BEATEN = Point("s FP32", 8.0, 26.5)
NEAR = Point("m INT8", 7.0, 28.5)


def test_the_front_holds_what_no_other_beats() -> None:
    assert front_of([MIDDLE, BEATEN, FAST, NEAR]) == [NEAR, MIDDLE, FAST]


def test_of_two_equally_fast_the_nearer_one_is_in_front() -> None:
    worse = Point("worse", MIDDLE.speed_up, 26.0)
    assert front_of([worse, MIDDLE]) == [MIDDLE]


def test_a_chart_is_xml_that_stands_alone() -> None:
    root = ElementTree.fromstring(pareto_chart([FAST, MIDDLE, BEATEN, NEAR]))
    assert root.tag == f"{SVG}svg"
    assert root.find(f"{SVG}style") is not None
    assert len(root.findall(f"{SVG}circle")) == 4
    _, _, width, height = (float(part) for part in root.attrib["viewBox"].split())
    for circle in root.findall(f"{SVG}circle"):
        assert 0 < float(circle.attrib["cx"]) < width
        assert 0 < float(circle.attrib["cy"]) < height


def test_faster_is_to_the_right_and_nearer_is_above() -> None:
    places = {}
    for circle in ElementTree.fromstring(pareto_chart([FAST, NEAR])).findall(f"{SVG}circle"):
        title = circle.find(f"{SVG}title")
        assert title is not None
        places[title.text] = float(circle.attrib["cx"]), float(circle.attrib["cy"])
    (near_x, near_y), (fast_x, fast_y) = (
        next(place for text, place in places.items() if text and text.startswith(point.name))
        for point in (NEAR, FAST)
    )
    assert fast_x > near_x
    assert near_y < fast_y


@pytest.mark.parametrize("points", [[FAST], [FAST, FAST], [Point("slow", 0.4, 30.0)]])
def test_few_points_make_a_chart_too(points: list[Point]) -> None:
    root = ElementTree.fromstring(pareto_chart(points))
    assert len(root.findall(f"{SVG}circle")) == len(points)
    assert not re.search("nan|inf", "".join(root.itertext()))


def test_names_of_equal_places_do_not_lie_on_each_other() -> None:
    other = Point("twin", FAST.speed_up, FAST.psnr_db)
    root = ElementTree.fromstring(pareto_chart([FAST, other]))
    rows = [float(t.attrib["y"]) for t in root.findall(f"{SVG}text") if t.attrib.get("class") == "name"]
    assert abs(rows[0] - rows[1]) >= 14


def test_names_keep_off_the_line() -> None:
    """Which falls to the right through the front: its names are above it, the others' below."""
    root = ElementTree.fromstring(pareto_chart([FAST, MIDDLE, BEATEN, NEAR]))
    names = {
        t.text: float(t.attrib["y"]) for t in root.findall(f"{SVG}text") if t.attrib.get("class") == "name"
    }
    for circle in root.findall(f"{SVG}circle"):
        name = (circle.findtext(f"{SVG}title") or "").partition(":")[0]
        is_above = names[name] < float(circle.attrib["cy"])
        assert is_above == (circle.attrib["class"] == "front")


def test_names_never_become_markup() -> None:
    evil = Point("<script>alert(1)</script>&\"'", 3.0, 25.0)
    root = ElementTree.fromstring(pareto_chart([evil, FAST]))
    assert not list(root.iter(f"{SVG}script"))
    assert evil.name in [text.text for text in root.findall(f"{SVG}text")]
