"""The notation of phrases, and that no rule matches by accident."""

import re

import pytest

from domain.compliance import TEXT_RULES
from domain.compliance_rule import Rule, phrase_expression


def rule(*phrases: str, harmless: tuple[str, ...] = (), squeezed: tuple[str, ...] = ()) -> Rule:
    return Rule(id="r", clause="c", remedy="Do not.", phrases={"en": phrases}, harmless=harmless, squeezed=squeezed)


@pytest.mark.parametrize(
    ("phrase", "matched", "not_matched"),
    [
        ("pay pal", ("paypal", "use pay pal.", "pay-pal"), ("pay. pal", "paypals", "repaypal", "pay my pal")),
        ("hypnoti*", ("hypnotising", "hypnoti"), ("hypnosis",)),
        ("(meet|see) me", ("meet me", "see me"), ("meet", "meets me")),
        ("(please )?call me", ("please call me", "call me"), ("calls me",)),
        ("a (very )*b c", ("a b c", "a very very b c"), ("a very very very very b c",)),
        ("überweis*", ("uberweisung",), ("weisung",)),
        ("i'?ll go", ("ill go", "i ll go"), ("i will go",)),
        ("die$", ("want to die", "die.", "die, die"), ("die blume", "diet")),
        (
            "meet … hotel",
            ("meet you in a hotel", "meet hotel"),
            ("meet me. a hotel", "meet me in the very best known hotel"),
        ),
        ("e? ?mail me", ("email me", "mail me", "e mail me"), ("female me",)),
    ],
)
def test_the_notation_of_phrases(phrase: str, matched: tuple[str, ...], not_matched: tuple[str, ...]) -> None:
    expression = re.compile(phrase_expression([phrase]))
    assert [text for text in matched if not expression.search(text)] == []
    assert [text for text in not_matched if expression.search(text)] == []


def test_a_group_that_is_not_closed_is_refused() -> None:
    with pytest.raises(ValueError, match="not closed"):
        phrase_expression(["(a|b"])


def test_what_is_harmless_is_not_matched_but_does_not_hide_the_rest() -> None:
    minors = rule("minor", harmless=("minor (detail|key)",))
    assert not minors.matches("a minor detail in a minor key")
    assert minors.matches("a minor detail about a minor")


def test_a_telling_name_is_found_without_its_spaces() -> None:
    named = rule("telegram", squeezed=("telegram",))
    assert named.matches_squeezed("findmeontelegram")
    assert not rule("telegram").matches_squeezed("findmeontelegram")


def test_short_phrases_are_words_to_look_for_in_disguises() -> None:
    assert set(rule("pay pal", "rape(d|s)?", "kik", "some very long phrase that nobody would spell out").words) == {
        "paypal",
        "rape",
        "raped",
        "rapes",
    }


COMMON = (
    *(
        "the",
        "i",
        "you",
        "my",
        "a",
        "and",
        "is",
        "at",
        "on",
        "in",
        "pay",
        "meet",
        "come",
        "new",
        "set",
        "for",
        "to",
        "of",
    ),
    *("me", "it", "we", "see", "look", "love", "like", "want", "here", "he", "she", "or", "not", "with", "from", "so"),
    *(
        "de",
        "la",
        "le",
        "les",
        "je",
        "tu",
        "une",
        "par",
        "sur",
        "mon",
        "que",
        "en",
        "carte",
        "des",
        "est",
        "pas",
        "pour",
    ),
    *("el", "los", "con", "por", "para", "un", "una", "mi", "tu", "es", "no", "si", "il", "lo", "o", "os", "um", "uma"),
    *("unter", "und", "mit", "ich", "der", "die", "das", "ein", "zu", "auf", "bei", "von", "ist", "du", "wir", "nicht"),
)


@pytest.mark.parametrize("rule", TEXT_RULES, ids=lambda rule: str(rule.id))
def test_no_common_word_alone_breaks_a_rule_or_excuses_it(rule: Rule) -> None:
    assert [word for word in ("", *COMMON) if rule.matches(word)] == []
    excuses = re.compile(phrase_expression(rule.harmless)) if rule.harmless else None
    assert [word for word in ("", *COMMON) if excuses and excuses.search(word)] == []
