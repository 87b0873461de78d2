"""Markdown: every link leads somewhere, the changelog knows this version, nothing is left to be filled in."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import irvis_runtime

LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)>\s]+)>?(?:\s+\"[^\"]*\")?\s*\)")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)


def prose(text: str) -> str:
    """A document without its code."""
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))


def slugs(text: str) -> set[str]:
    """The anchors that GitHub makes of a document's headings."""
    headings = re.findall(r"^#{1,6}\s+(.+?)\s*#*$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(document: Path) -> list[str]:
    found = []
    for target in LINK.findall(prose(document.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = document.parent / name if name else document
        if not path.exists() or (anchor and path.suffix == ".md" and anchor not in slugs(path.read_text())):
            found.append(target)
    return found


@pytest.fixture(scope="session")
def documents(root: Path, tracked: list[Path]) -> list[Path]:
    found = [root / path for path in tracked if path.suffix == ".md"]
    assert root / "README.md" in found
    return found


def test_links_lead_somewhere(documents: list[Path], root: Path) -> None:
    broken = {str(path.relative_to(root)): broken_links(path) for path in documents}
    assert {path: links for path, links in broken.items() if links} == {}


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# A heading, here\n")
    document = tmp_path / "a.md"
    document.write_text(
        '[a](there.md) [b](gone.md) ![c](gone.png "title") [d](there.md#a-heading-here) [e](there.md#gone)\n'
        "[f](https://example.org/gone) [g](#own) `[h](code.md)`\n## Own\n```\n[i](fenced.md)\n```\n"
    )
    assert broken_links(document) == ["gone.md", "gone.png", "there.md#gone"]


def test_nothing_is_left_to_fill_in(documents: list[Path], root: Path) -> None:
    left = {}
    for path in documents:
        left[str(path.relative_to(root))] = re.findall(
            r"@[A-Z_]{3,}@|\bTODO\b|\bTBD\b|\bFIXME\b", prose(path.read_text())
        )
    assert {path: words for path, words in left.items() if words} == {}


def test_changelog_knows_this_version(root: Path) -> None:
    headings = re.findall(r"^## \[?([0-9][^\]\s]*)", (root / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == irvis_runtime.__version__
    assert len(set(headings)) == len(headings)


def test_licence_is_the_same_in_the_wheels_folder(root: Path) -> None:
    """The wheel is built from runtime/ alone and must bring the licence."""
    assert (root / "runtime" / "LICENSE").read_bytes() == (root / "LICENSE").read_bytes()
