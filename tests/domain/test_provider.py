"""Whom to ask first, and when to ask the other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import ProviderError, ProviderFault
from domain.provider import IntentType, PreferredProvider, Provider, ProviderUsed, falls_back, provider_used, route

AZURE, OPENAI = Provider.AZURE, Provider.OPENAI
GENERATED = sorted(set(IntentType) - {IntentType.DIRECT_MESSAGE})
"""What a provider is asked for; the text of a direct message is the caller's own."""


class TestRoute:
    @pytest.mark.parametrize(
        ("intent", "order"),
        [
            (IntentType.CONTENT_PLANNING, (AZURE, OPENAI)),
            (IntentType.CAMPAIGN_EXECUTION, (AZURE, OPENAI)),
            (IntentType.MESSAGE_GENERATION, (OPENAI, AZURE)),
            (IntentType.CONTENT_VALIDATION, (OPENAI, AZURE)),
        ],
    )
    def test_planning_starts_at_azure_and_messages_at_openai(
        self, intent: IntentType, order: tuple[Provider, ...]
    ) -> None:
        assert route(intent) == order

    @pytest.mark.parametrize("intent", GENERATED)
    @pytest.mark.parametrize("preferred", [PreferredProvider.AZURE, PreferredProvider.OPENAI])
    def test_a_preference_goes_first(self, intent: IntentType, preferred: PreferredProvider) -> None:
        assert route(intent, preferred)[0].value == preferred.value

    @given(st.sampled_from(GENERATED), st.sampled_from(PreferredProvider))
    def test_every_provider_is_asked_once(self, intent: IntentType, preferred: PreferredProvider) -> None:
        assert sorted(route(intent, preferred)) == sorted(Provider)


class TestFallsBack:
    @pytest.mark.parametrize(
        ("fault", "expected"),
        [
            (ProviderFault.THROTTLED, True),
            (ProviderFault.TRANSIENT, True),
            (ProviderFault.TIMEOUT, True),
            (ProviderFault.AUTH, True),
            (ProviderFault.MALFORMED_OUTPUT, True),
            (ProviderFault.INVALID_REQUEST, False),
            (ProviderFault.CONTENT_POLICY, False),
            (ProviderFault.CONTEXT_LENGTH, False),
        ],
    )
    def test_only_what_the_other_could_do_better_goes_to_the_other(self, fault: ProviderFault, expected: bool) -> None:
        assert falls_back(fault) is expected

    @pytest.mark.parametrize("fault", ProviderFault)
    def test_what_is_worth_repeating_is_worth_asking_the_other(self, fault: ProviderFault) -> None:
        assert ProviderError("no", fault=fault).retryable is falls_back(fault)


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
