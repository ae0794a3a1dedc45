"""Where messages must say that AI wrote them, and the sentence that does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.compliance import MAX_TEXT_CHARACTERS, check
from domain.compliance_disclosure import SENTENCES, demands_disclosure, disclosed, discloses

TEXTS = st.text(max_size=1_100)
REGIONS = st.sampled_from(["", "US", "US-CA", "US-TX", "DE", "DE-BY", "FR", "BR", "NO"])
LANGUAGES = st.sampled_from(["", "en", "fr-FR", "ES", "de_AT", "it", "pt-BR", "nl", "pl"])


@pytest.mark.parametrize(
    ("region", "demanded"),
    [
        ("DE", True),
        ("fr", True),
        (" es ", True),
        ("DE-BY", True),
        ("NO", True),
        ("IS", True),
        ("RE", True),
        ("EU", True),
        ("US-CA", True),
        ("us-ut", True),
        ("US-NY", True),
        ("US-ME", True),
        ("US-NJ", True),
        ("", False),
        ("US", False),
        ("US-TX", False),
        ("GB", False),
        ("CH", False),
        ("BR", False),
        ("DEU", False),
    ],
)
def test_the_regions_that_demand_it(region: str, demanded: bool) -> None:
    assert demands_disclosure(region) is demanded
    rules = [violation.rule_id for violation in check("Hello Maya, the new set is here.", region=region).violations]
    assert rules == ["ai-disclosure"] * demanded


@pytest.mark.parametrize(
    "text",
    [
        *SENTENCES.values(),
        "This was written with a little help from AI",
        "an AI-generated message",
        "I'm an AI assistant of Luna",
        "Message automatique",
        "Rédigé par une intelligence artificielle",
        "Escrito por una IA",
        "Von einer KI verfasst? Nein: mit KI erstellt.",
        "Generato dall'IA",
        "Criada por IA",
    ],
)
def test_these_say_so(text: str) -> None:
    assert discloses(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Written by me, with a coffee in hand",
        "J'ai écrit ce message pour toi",
        "Kim, I said hi",
        "made with love, again",
        "Me ha escrito María",
        "Ich habe dir geschrieben, Kira",
        "The AI of my vacuum cleaner is rude",
    ],
)
def test_these_do_not(text: str) -> None:
    assert not discloses(text)


@pytest.mark.parametrize(
    ("language", "sentence"), [*SENTENCES.items(), ("pt-BR", SENTENCES["pt"]), ("pl", SENTENCES["en"])]
)
def test_the_sentence_is_in_the_recipients_language_and_passes_the_rules(language: str, sentence: str) -> None:
    text = disclosed("Hello Maya, the new set is here.", region="DE", language=language)
    assert text == f"Hello Maya, the new set is here.\n({sentence})"
    assert check(text, region="DE").violations == ()


@given(TEXTS, REGIONS, LANGUAGES)
def test_it_is_added_once_and_never_makes_a_text_too_long(text: str, region: str, language: str) -> None:
    once = disclosed(text, region=region, language=language)
    assert disclosed(once, region=region, language=language) == once
    assert len(once) <= max(len(text), MAX_TEXT_CHARACTERS)
    assert once == text or (once.startswith(text.rstrip()) and discloses(once))


@given(TEXTS, REGIONS, LANGUAGES)
def test_it_breaks_no_rule_that_the_text_did_not_break(text: str, region: str, language: str) -> None:
    before = {violation.rule_id for violation in check(text, region=region).violations}
    after = {
        violation.rule_id
        for violation in check(disclosed(text, region=region, language=language), region=region).violations
    }
    assert after <= before


def test_what_does_not_fit_stays_as_it_is() -> None:
    text = "x" * (MAX_TEXT_CHARACTERS - 5)
    assert disclosed(text, region="DE", language="de") == text
