"""Disguises are seen through, and no text takes long to read."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.compliance import check
from domain.compliance_text import Vocabulary, by_prefix, normalise, readings, without_accents

INVISIBLE = tuple("\u00ad\u034f\u180e\u200b\u200c\u200d\u202e\u2060\u2063\u2066\ufeff\ufe0f\u3164")
VOCABULARY = Vocabulary(["paypal", "telegram", "minor"])


def circled(text: str) -> str:
    return "".join(chr(0x1F150 + ord(letter) - ord("a")) if letter.isalpha() else letter for letter in text)


class TestNormalise:
    @pytest.mark.parametrize("sign", INVISIBLE, ids=ascii)
    def test_invisible_signs_between_letters_hide_nothing(self, sign: str) -> None:
        assert normalise(sign.join("PayPal")) == "paypal"

    @pytest.mark.parametrize(
        "disguised",
        [
            "ＰａｙＰａｌ",
            "𝗣𝗮𝘆𝗣𝗮𝗹",
            "𝓟𝓪𝔂𝓟𝓪𝓵",
            "ᴘᴀʏᴘᴀʟ",
            "раураl",
            "ρaγραl".replace("γ", "y"),
            "Ⓟⓐⓨⓟⓐⓛ",
            "p\u0336a\u0336ypal",
            circled("paypal"),
        ],
    )
    def test_other_alphabets_hide_nothing(self, disguised: str) -> None:
        assert normalise(disguised) == "paypal"

    @pytest.mark.parametrize(
        "spelling", ["Dernie\u0300re", "Derni\u00e8re", "Dernie\u200b\u0300re", "DERNIÈRE", "derniere"]
    )
    def test_all_spellings_of_an_accent_are_the_same(self, spelling: str) -> None:
        assert normalise(spelling) == "derniere"

    def test_digits_of_other_scripts_are_digits(self) -> None:
        assert normalise("٠٧١ 5️⃣ ⑦ ７") == "071 5 7 7"

    @given(st.text("abcdefghijklmnopqrstuvwxyz0123456789 .,!?'", max_size=200))
    def test_plain_text_stays_as_it_is(self, text: str) -> None:
        assert normalise(text) == text
        assert normalise(text.upper()) == text

    @given(st.text(max_size=200))
    def test_no_mark_and_no_invisible_sign_remains(self, text: str) -> None:
        assert not {"Cf", "Me"} & {unicodedata.category(sign) for sign in normalise(text)}

    @pytest.mark.parametrize("word", ["überweisung", "straße", "niñita", "dernière", "cœur"])
    def test_words_of_rules_are_folded_like_texts(self, word: str) -> None:
        assert without_accents(word) == normalise(word)


class TestReadings:
    @pytest.mark.parametrize(
        "disguised",
        [
            "p a y p a l",
            "p.a.y.p.a.l",
            "p-a-y-p-a-l",
            "P 4 Y P 4 L".lower(),
            "pay.pal",
            "pay_pal",
            "pay💸pal",
            "paaaypal",
            "p4yp4l",
            "paypa1",
            "p@yp@l",
            "p*ypal",
            "p*yp#l",
            "p4y.p4l",
        ],
    )
    def test_a_disguise_is_taken_off(self, disguised: str) -> None:
        found = readings(normalise(f"use {disguised} now"), VOCABULARY)
        assert any("use paypal" in reading for reading in found), found

    @pytest.mark.parametrize(
        ("written", "digits"),
        [
            ("zero seven seven one two three four five", "0 7 7 1 2 3 4 5"),
            ("null eins sieben, eins zwei drei", "0 1 7 1 2 3"),
            ("0-7-7-1-2-3", "077123"),
            ("o77 1lo", "077 110"),
        ],
    )
    def test_a_number_is_read_in_digits(self, written: str, digits: str) -> None:
        assert digits in readings(written, VOCABULARY)

    @pytest.mark.parametrize(
        "text", ["hey maya, how was your day?", "20 % off until 18:30, only $9.99", "the 2nd set, 4k, 60fps"]
    )
    def test_plain_text_is_read_in_one_way(self, text: str) -> None:
        assert readings(text, VOCABULARY) == (text,)

    def test_a_word_within_a_spelled_out_run_is_found(self) -> None:
        assert any("telegram" in reading.split() for reading in readings("m y t e l e g r a m", VOCABULARY))

    @given(st.text(max_size=200))
    def test_the_text_itself_is_always_read_first(self, text: str) -> None:
        plain = normalise(text)
        first = readings(plain, VOCABULARY)[0]
        assert re.findall("[a-z0-9]+", first) == re.findall("[a-z0-9]+", plain)


class TestByPrefix:
    @given(st.lists(st.text("abc", min_size=1, max_size=5), min_size=1, max_size=20), st.text("abc", max_size=6))
    def test_it_matches_what_the_alternatives_match(self, words: list[str], text: str) -> None:
        assert bool(re.fullmatch(by_prefix(words), text)) is (text in words)


HOSTILE = {
    "letters": "a" * 4_000,
    "single letters": "a " * 2_000,
    "digits": "1" * 4_000,
    "spaced digits": "1 " * 2_000,
    "dots": "a." * 2_000,
    "leet": "a1" * 2_000,
    "zeros and o": "o0" * 2_000,
    "masks": "a*" * 2_000,
    "at signs": "a@" * 2_000,
    "links": "www." * 1_000,
    "local part": "a.-_" * 1_000,
    "spaces": " " * 4_000,
    "brackets": "(" * 4_000,
    "number words": "one " * 1_000,
    "beginnings of phrases": "my i am the meet me send your " * 130,
    "beginnings of german phrases": "wollen wir uns mal heute morgen " * 120,
    "emojis": "😀" * 4_000,
    "marks": "a" + "\u0301" * 3_999,
    "cyrillic": "а" * 4_000,
    "exclamation marks": "!" * 4_000,
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_no_text_is_read_for_long(text: str) -> None:
    for _ in range(3):
        assert check(text).blocked
