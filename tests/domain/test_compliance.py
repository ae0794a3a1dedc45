"""Each rule catches what it is for and lets its harmless look-alikes pass."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from domain.compliance import (
    MAX_TEXT_CHARACTERS,
    RULES,
    SCREENING,
    ComplianceLevel,
    Severity,
    check,
    normalise,
    quality_score,
)

CAUGHT: dict[str, tuple[str, ...]] = {
    "contact-email": ("write to luna@example.com", "luna (at) example (dot) com", "LUNA@EXAMPLE.ORG now"),
    "contact-phone": ("call +1 555 123 4567", "(555) 123-4567 is me", "0049.170.1234567", "06 12 34 56 78"),
    "contact-link": ("see https://x.test/a", "www.luna.test has more", "luna.ly is mine", "my-page.link"),
    "contact-messenger": ("add me on Telegram", "my snap chat is on", "WhatsApp me", "my insta is new"),
    "off-platform-payment": ("use PayPal", "cash app works too", "send Bitcoin", "par virement", "per Überweisung"),
    "meet-up": ("let us meet up", "come to my hotel", "an escort tonight", "treffen wir uns"),
    "minors": ("she is underage", "a school girl look", "17 years old", "j'ai 15 ans", "12 Jahre alt"),
    "pressure": ("last chance for you", "act now", "it is guaranteed", "Dernière chance"),
    "shouting": ("so happy!!!", "cheap $$"),
}

HARMLESS: dict[str, tuple[str, ...]] = {
    "contact-email": ("meet me @ the live stream", "the show is at nine. come"),
    "contact-phone": ("over 10,000 fans and 350 photos", "see you 22/11/2026", "12 photos, 3 videos, 5 new looks"),
    "contact-link": ("that is so good. Come and see", "a total of 3.5 hours", "see you at 8.30"),
    "contact-messenger": ("instantly yours", "quick kicks", "a signal from you", "snapping pictures"),
    "off-platform-payment": ("a cryptic smile", "cash in your wish", "a gift for you", "pay attention"),
    "meet-up": ("meet my new look", "a hotel themed set", "I never met you"),
    "minors": ("I am 25 years old", "for 30 years old fans", "a major surprise", "old school girls night"),
    "pressure": ("at last a chance to rest", "act nowhere", "today only for you"),
    "shouting": ("so happy!!", "it is $5", "hey! hey!"),
}

DISGUISES = tuple("\u00ad\u034f\u180e\u200b\u200c\u200d\u202e\u2060\u2063\u2066\ufeff")


def broken(text: str) -> set[str]:
    return {violation.rule_id for violation in check(text).violations}


def cases(table: dict[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    return [(rule, text) for rule, texts in table.items() for text in texts]


def full_width(text: str) -> str:
    return "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in text)


class TestRules:
    def test_every_rule_has_examples_of_both_kinds(self) -> None:
        assert {rule.id for rule in RULES} == CAUGHT.keys() == HARMLESS.keys()

    def test_every_rule_says_what_to_do_instead(self) -> None:
        assert all(rule.remedy.endswith(".") and rule.clause for rule in RULES)

    @pytest.mark.parametrize(("rule", "text"), cases(CAUGHT))
    def test_an_example_is_caught(self, rule: str, text: str) -> None:
        assert rule in broken(text)

    @pytest.mark.parametrize(("rule", "text"), cases(HARMLESS))
    def test_a_look_alike_passes(self, rule: str, text: str) -> None:
        assert rule not in broken(text)


class TestNormalise:
    @pytest.mark.parametrize("sign", DISGUISES, ids=ascii)
    def test_invisible_signs_between_letters_hide_nothing(self, sign: str) -> None:
        assert normalise(sign.join("PayPal")) == "paypal"

    @pytest.mark.parametrize(("rule", "text"), cases(CAUGHT))
    def test_full_width_letters_hide_nothing(self, rule: str, text: str) -> None:
        assert rule in broken(full_width(text))

    @pytest.mark.parametrize(("rule", "text"), cases(CAUGHT))
    def test_zero_width_spaces_hide_nothing(self, rule: str, text: str) -> None:
        assert rule in broken("\u200b".join(text))

    @pytest.mark.parametrize(
        "spelling", ["Dernie\u0300re chance", "Derni\u00e8re chance", "Dernie\u200b\u0300re chance"]
    )
    def test_both_spellings_of_an_accent_are_the_same(self, spelling: str) -> None:
        assert broken(spelling) == {"pressure"}


class TestCheck:
    @given(st.text(max_size=1_200))
    def test_the_score_is_zero_when_something_blocks_and_falls_with_every_warning(self, text: str) -> None:
        report = check(text)
        assert 0 <= report.score <= 1
        assert report.blocked is any(violation.severity is Severity.BLOCK for violation in report.violations)
        assert report.score == (0 if report.blocked else 1 - 0.25 * len(report.violations))

    @given(st.sampled_from([text for texts in CAUGHT.values() for text in texts]), st.text(max_size=100))
    def test_no_words_around_it_make_a_violation_fine(self, example: str, around: str) -> None:
        assert broken(example) <= broken(f"{around} {example} {around}") | {"text-length"}

    def test_two_warnings_leave_half_of_the_score(self) -> None:
        assert check("Last chance!!!").score == 0.5

    @pytest.mark.parametrize("text", ["", "  \n", "\u200b\u200b", "x" * (MAX_TEXT_CHARACTERS + 1)])
    def test_a_text_that_shows_nothing_or_too_much_is_blocked(self, text: str) -> None:
        assert broken(text) == {"text-length"}

    def test_the_longest_text_passes(self) -> None:
        assert not check("x" * MAX_TEXT_CHARACTERS).blocked

    def test_a_report_never_repeats_the_text(self) -> None:
        assert "luna@example.com" not in check("write to luna@example.com").model_dump_json()


class TestScreening:
    def test_each_level_has_the_gateways_screening(self) -> None:
        assert SCREENING == {
            ComplianceLevel.STRICT: "strict_ban",
            ComplianceLevel.MODERATE: "risky",
            ComplianceLevel.RELAXED: "replace_soften",
        }


class TestQualityScore:
    @given(st.text(max_size=1_000), st.text(min_size=1, max_size=20))
    def test_it_lies_between_zero_and_one(self, text: str, name: str) -> None:
        assert 0 <= quality_score(text, name) <= 1

    @given(st.text("abc def", min_size=1, max_size=500))
    def test_calling_the_fan_by_name_is_worth_a_third(self, text: str) -> None:
        assume(text.strip())
        with_name, without = quality_score(text, text.strip()[0]), quality_score(text, "Zoë")
        assert with_name - without == pytest.approx(1 / 3, abs=1e-4)

    @pytest.mark.parametrize(
        ("text", "score"),
        [
            ("", 0.0),
            ("!!!", 0.0),
            ("Maya, a new set of photos is waiting for you, with love", 1.0),
            ("A new set of photos is waiting for you, with lots of love", 0.6667),
            ("Maya " * 8, 0.75),
        ],
    )
    def test_examples(self, text: str, score: float) -> None:
        assert quality_score(text, "maya") == pytest.approx(score, abs=1e-3)

    @given(st.integers(min_value=400, max_value=1_200))
    def test_beyond_400_characters_longer_is_never_better(self, size: int) -> None:
        assert quality_score("y" * (size + 1), "Maya") <= quality_score("y" * size, "Maya")
