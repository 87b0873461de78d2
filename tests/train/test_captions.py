from __future__ import annotations

from functools import cache

import numpy as np
import open_clip
import pytest
from hypothesis import given
from hypothesis import strategies as st

from irvis_train.captions import (
    CLEAN,
    MEANINGS,
    OBJECTIVE,
    Meaning,
    canonical,
    draw_caption,
    known_words,
    rephrased_captions,
    seen_captions,
    unknown_words,
    unseen_captions,
)
from irvis_train.clip_config import ClipShape

meanings = st.sampled_from(MEANINGS)
each = pytest.mark.parametrize("meaning", MEANINGS, ids=lambda meaning: meaning.name)


@cache
def all_captions(meaning: Meaning) -> frozenset[str]:
    return frozenset((*seen_captions(meaning), *unseen_captions(meaning), *rephrased_captions(meaning)))


def test_no_sentence_says_two_things() -> None:
    said: dict[str, Meaning] = {}
    for meaning in MEANINGS:
        for text in all_captions(meaning):
            assert said.setdefault(text, meaning) == meaning, text
    assert len(said) > 10_000


def test_the_papers_texts_are_the_plainest_sentences() -> None:
    """facts: arXiv 2402.16267, src/trainer.py."""
    assert canonical(Meaning("visible")) == "a visible gray image"
    assert canonical(Meaning("infrared")) == "an infrared image"
    assert canonical(OBJECTIVE) == "a clear image with detailed background and salient objects"


def test_meanings_are_distinct_and_cover_both_axes() -> None:
    assert len(set(MEANINGS)) == len(MEANINGS)
    assert len({meaning.name for meaning in MEANINGS}) == len(MEANINGS)
    sound = [meaning for meaning in MEANINGS if meaning.modality == "fused" and meaning.quality == CLEAN]
    assert len(sound) == 9


@each
def test_every_meaning_can_be_said_in_several_ways_old_and_new(meaning: Meaning) -> None:
    seen, unseen, rephrased = (
        set(texts)
        for texts in (seen_captions(meaning), unseen_captions(meaning), rephrased_captions(meaning))
    )
    assert len(seen) >= 10
    assert unseen
    assert rephrased
    assert not seen & unseen
    assert not (seen | unseen) & rephrased
    assert canonical(meaning) in seen
    # New combinations, no new words: a tower trained here knows no others.
    assert not [word for text in unseen | rephrased for word in unknown_words(text)]


@given(meanings, st.floats(0.0, 1.0), st.integers(0, 2**32))
def test_a_drawn_caption_is_none_of_the_unseen(meaning: Meaning, severity: float, seed: int) -> None:
    text = draw_caption(meaning, severity, np.random.default_rng(seed))
    assert text not in unseen_captions(meaning)
    assert text not in rephrased_captions(meaning)
    assert text == draw_caption(meaning, severity, np.random.default_rng(seed))
    assert text == " ".join(text.split())
    article, first = text.split()[:2]
    assert article == ("an" if first[0] in "aeiou" else "a")
    for other in MEANINGS:
        assert other == meaning or text not in all_captions(other)


@given(st.sampled_from([meaning for meaning in MEANINGS if meaning.quality != CLEAN]), st.integers(0, 2**32))
def test_words_of_degree_follow_the_severity(meaning: Meaning, seed: int) -> None:
    mild = draw_caption(meaning, 0.3, np.random.default_rng(seed))
    strong = draw_caption(meaning, 0.9, np.random.default_rng(seed))
    assert not {"heavily", "strongly", "very"} & set(mild.split())
    assert not {"slightly", "mildly"} & set(strong.split())
    assert ({"slightly", "mildly"} & set(mild.split()) == set()) == (mild == strong)


def test_every_caption_fits_the_text_tower() -> None:
    limit = ClipShape().context_length
    tokenizer = open_clip.SimpleTokenizer(context_length=2 * limit)
    longest = {max(all_captions(meaning), key=len) for meaning in MEANINGS}
    assert int((tokenizer(sorted(longest)) != 0).sum(dim=1).max()) <= limit


def test_unknown_words_are_named() -> None:
    assert unknown_words("A Clear image, with DETAILED background") == ()
    assert unknown_words("a crisp image with chromatic objects") == ("crisp", "chromatic")
    assert {"thermal", "checkerboard", "heavily"} <= known_words()
