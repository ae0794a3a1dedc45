"""Texts for anybody, and one word for all who answered."""

import pytest

from domain.provider import ContentPlan, GeneralText, Provider, ProviderUsed, provider_used

AZURE, OPENAI = Provider.AZURE, Provider.OPENAI


class TestGeneralText:
    PLAN = ContentPlan(
        theme="t",
        tone="t",
        angle="a",
        call_to_action="c",
        general_texts=(
            GeneralText(language="de", text="Hallo"),
            GeneralText(language="en", text="Hello"),
            GeneralText(language="fr-CA", text="Bonjour"),
        ),
    )

    @pytest.mark.parametrize(
        ("language", "text"), [("de-AT", "Hallo"), ("fr", "Bonjour"), ("en", "Hello"), ("it", "Hello")]
    )
    def test_in_the_fans_language_or_else_in_english(self, language: str, text: str) -> None:
        assert self.PLAN.general_text(language) == text

    def test_without_english_any_is_better_than_none(self) -> None:
        only = self.PLAN.model_copy(update={"general_texts": self.PLAN.general_texts[:1]})
        assert only.general_text("it") == "Hallo"
        assert only.model_copy(update={"general_texts": ()}).general_text("it") == ""


class TestProviderUsed:
    @pytest.mark.parametrize(
        ("providers", "word"),
        [
            ([], None),
            ([AZURE, AZURE], ProviderUsed.AZURE),
            ([OPENAI], ProviderUsed.OPENAI),
            ([AZURE, OPENAI, AZURE], ProviderUsed.HYBRID),
        ],
    )
    def test_one_word_for_all_that_answered(self, providers: list[Provider], word: ProviderUsed | None) -> None:
        assert provider_used(providers) is word
