"""Fingerprints: equal for what differs in name and looks only, near for small changes, far for other texts."""

import random
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.similarity import NEAR, alike, fingerprint, near_identical
from tests.domain.corpus import samples

MESSAGE = (
    "Hey {name}, I finally finished the new set from Rome and kept your favourite picture for the end. "
    "Tell me what you think."
)
LONG = sorted({sample.text for sample in samples("harmless") if len(sample.text) > 70 and sample.disguise == "none"})
NAMES = st.from_regex(r"[B-DF-Z][bcdfghjklmnpqrstvwxz]{3,8}", fullmatch=True)


@given(st.text(max_size=500), st.text(max_size=20))
def test_it_has_64_bits_and_is_always_the_same(text: str, name: str) -> None:
    assert 0 <= fingerprint(text, name) < 2**64
    assert fingerprint(text, name) == fingerprint(text, name)


@given(NAMES, NAMES)
def test_another_name_makes_no_difference(one: str, other: str) -> None:
    assert fingerprint(MESSAGE.format(name=one), one) == fingerprint(MESSAGE.format(name=other), other)


@given(st.text("abcdefgh ", max_size=200))
def test_case_punctuation_and_emojis_make_no_difference(text: str) -> None:
    assert fingerprint(text, "") == fingerprint(f"✨ {text.upper().replace(' ', ',  ')}!", "")


@pytest.mark.parametrize(
    "changed",
    [
        MESSAGE.replace("Rome", "Venice"),
        MESSAGE.replace("Hey", "Hi"),
        MESSAGE.replace("the new set", "my new set"),
        MESSAGE + " 💛💛",
        MESSAGE.replace("finally ", ""),
        MESSAGE.replace("favourite", "fаvоuritе"),
    ],
)
def test_a_small_change_is_near_identical(changed: str) -> None:
    assert near_identical(fingerprint(MESSAGE, "{name}"), fingerprint(changed, "{name}"))


def test_different_messages_are_not_near_identical() -> None:
    prints = [fingerprint(text, "") for text in LONG]
    pairs = [(one, other) for place, one in enumerate(prints) for other in prints[:place]]
    assert len(pairs) > 1_000
    assert sum(near_identical(one, other) for one, other in pairs) <= 0.001 * len(pairs)


def test_one_word_of_a_message_exchanged_is_mostly_near_identical() -> None:
    dice = random.Random(7)
    near = 0
    for text in LONG:
        words = text.split()
        place = dice.randrange(len(words))
        changed = " ".join([*words[:place], "another", *words[place + 1 :]])
        near += near_identical(fingerprint(text, ""), fingerprint(changed, ""))
    assert near >= 0.7 * len(LONG)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_nearness_is_mutual_and_counts_differing_bits(one: int, other: int) -> None:
    assert near_identical(one, other) is near_identical(other, one) is ((one ^ other).bit_count() <= NEAR)
    assert near_identical(one, one)


@given(st.lists(st.integers(0, 2**64 - 1), max_size=20), st.integers(0, 2**64 - 1))
def test_alike_counts_the_near_identical_ones(earlier: list[int], mine: int) -> None:
    assert alike(mine, earlier) == len([each for each in earlier if near_identical(mine, each)])
    assert alike(mine, [*earlier, mine]) == alike(mine, earlier) + 1


def test_it_is_the_same_in_another_process() -> None:
    code = "from domain.similarity import fingerprint; print(fingerprint('Hello Maya, the new set is here.', 'Maya'))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(printed) == fingerprint("Hello Maya, the new set is here.", "Maya")
