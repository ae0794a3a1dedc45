"""What a campaign shows, and the identity that must hold at its end."""

from datetime import timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.alternative import Alternative, AlternativeAction
from domain.campaign import CampaignInput, Lane
from domain.compliance import ComplianceLevel
from domain.cost import total
from domain.delivery import TERMINAL, MessageStatus, Priority
from domain.errors import ProviderFault
from domain.lane import OpenPage
from domain.progress import (
    FALLBACKS_KEPT,
    CampaignState,
    ClosingCheck,
    DetailedCosts,
    Tally,
    initial_lanes,
    progress,
)
from domain.provider import FallbackStep, Provider, ProviderUsed
from domain.review import Decision, Verdict, WaitingPage
from tests.domain.builders import NOW, a_cost

S = MessageStatus
LATER = NOW + timedelta(hours=1)
CAMPAIGN = CampaignInput(
    campaign_id="c-1",
    request_id="r-1",
    owner="user-1",
    trace_id="t-1",
    compliance_level=ComplianceLevel.STRICT,
    priority=Priority.MEDIUM,
    page_size=4,
    lanes=(Lane(account_id="acct_a", audience=9, pages=3), Lane(account_id="acct_b", audience=4, pages=1)),
)
LATE = Alternative(account_id="acct_a", action=AlternativeAction.SKIP, reason="deadline: …", recipients=1)
STEP = FallbackStep(from_provider=Provider.AZURE, to="openai", reason=ProviderFault.TIMEOUT, purpose="plan")
tallies = st.builds(
    lambda providers, steps, scored: Tally(
        providers=tuple(sorted(providers)), fallbacks=(STEP,) * steps, fallback_count=steps, scored=scored
    ),
    st.sets(st.sampled_from(Provider)),
    st.integers(min_value=0, max_value=70),
    st.integers(min_value=0, max_value=100),
)


class TestClosingCheck:
    @given(
        st.integers(min_value=0, max_value=12),
        st.dictionaries(st.sampled_from(S), st.integers(min_value=0, max_value=4)),
    )
    def test_it_balances_if_and_only_if_everybody_is_at_one_end_and_nothing_is_open(
        self, audience: int, outcomes: dict[S, int]
    ) -> None:
        at_an_end = sum(number for status, number in outcomes.items() if status in TERMINAL)
        still_open = sum(number for status, number in outcomes.items() if status not in TERMINAL)
        check = ClosingCheck(audience=audience, outcomes=outcomes)
        assert check.balanced is (at_an_end == audience and still_open == 0)
        assert check.accounted == at_an_end

    @pytest.mark.parametrize(
        ("outcomes", "balanced"),
        [
            ({S.SENT: 2, S.SKIPPED: 1}, True),
            ({S.SENT: 1, S.RECALLED: 2}, True),
            ({S.SENT: 2}, False),
            ({S.SENT: 3, S.FAILED: 1}, False),
            ({S.SENT: 3, S.QUEUED: 1}, False),
            ({S.SENT: 2, S.SENDING: 1}, False),
        ],
    )
    def test_examples_with_an_audience_of_three(self, outcomes: dict[S, int], balanced: bool) -> None:
        assert ClosingCheck(audience=3, outcomes=outcomes).balanced is balanced


class TestTally:
    @given(tallies, tallies)
    def test_counts_add_up_even_where_steps_are_no_longer_listed(self, one: Tally, other: Tally) -> None:
        both = one + other
        assert both.fallback_count == one.fallback_count + other.fallback_count
        assert both.scored == one.scored + other.scored
        assert set(both.providers) == {*one.providers, *other.providers}
        assert len(both.fallbacks) == min(FALLBACKS_KEPT, both.fallback_count)

    @given(tallies)
    def test_nothing_added_changes_nothing(self, tally: Tally) -> None:
        assert tally + Tally() == Tally() + tally == tally


class TestProgress:
    def state(self) -> CampaignState:
        lanes = initial_lanes(CAMPAIGN)
        decided = Decision(verdict=Verdict.APPROVE, decided_by="luna")
        lanes["acct_a"] = lanes["acct_a"].model_copy(
            update={
                "next_page": 3,
                "drafted": 8,
                "settled": {S.SENT: 2, S.RECALLED: 1},
                "ended": {S.SKIPPED: 1},
                "alternative": LATE,
                "batches": {0: 2},
                "open_pages": {
                    2: OpenPage(awaiting=1, expires_at=NOW),
                    1: OpenPage(awaiting=1, unwritten=1, ready=1, expires_at=LATER),
                },
                "decisions": {2: (decided,), 1: (decided.model_copy(update={"messages": (uuid4(),)}),)},
            }
        )
        return CampaignState(
            started_at=NOW, lanes=lanes, cost_micros=1_500_000, tally=Tally(providers=(Provider.AZURE,))
        )

    def test_every_figure_is_the_sum_over_the_accounts(self) -> None:
        shown = progress(CAMPAIGN, self.state())
        figures = (
            "drafted",
            "awaiting_review",
            "unwritten",
            "queued",
            "sent",
            "failed",
            "skipped",
            "cancelled",
            "rejected",
            "recalled",
        )
        for figure in figures:
            assert getattr(shown, figure) == sum(getattr(account, figure) for account in shown.accounts)
        assert (shown.audience, shown.drafted, shown.awaiting_review, shown.queued, shown.sent) == (13, 8, 3, 2, 2)
        assert shown.recalled == 1

    def test_the_alternative_of_an_account_is_shown_with_its_reason(self) -> None:
        shown = progress(CAMPAIGN, self.state())
        assert [account.alternative for account in shown.accounts] == [LATE, None]

    def test_only_pages_that_nobody_decided_as_a_whole_are_pending(self) -> None:
        assert progress(CAMPAIGN, self.state()).pending_reviews == (
            WaitingPage(account_id="acct_a", page=1, awaiting=1, unwritten=1, expires_at=LATER),
        )

    def test_the_next_expiry_is_the_first_one_of_all_accounts(self) -> None:
        shown = progress(CAMPAIGN, self.state())
        assert (shown.review_expires_at, shown.accounts[1].review_expires_at) == (NOW, None)

    def test_the_cost_is_shown_exactly_and_in_dollars(self) -> None:
        shown = progress(CAMPAIGN, self.state()).model_dump()
        assert (shown["costMicros"], shown["totalCost"], shown["provider"]) == (1_500_000, 1.5, ProviderUsed.AZURE)

    def test_a_new_campaign_has_a_lane_for_each_account_and_nothing_done(self) -> None:
        shown = progress(CAMPAIGN, CampaignState(started_at=NOW, lanes=initial_lanes(CAMPAIGN)))
        assert [account.account_id for account in shown.accounts] == ["acct_a", "acct_b"]
        assert (shown.drafted, shown.sent, shown.provider, shown.pending_reviews) == (0, 0, None, ())

    @pytest.mark.parametrize(
        ("reason", "stopped", "shown"), [("", "cost", "cost"), ("holiday", "cost", "holiday"), ("", "", "")]
    )
    def test_what_a_person_said_goes_before_what_stopped_it(self, reason: str, stopped: str, shown: str) -> None:
        state = self.state().model_copy(update={"reason": reason, "stopped": stopped})
        assert progress(CAMPAIGN, state).reason == shown


class TestDetailedCosts:
    def test_they_are_the_stored_totals(self) -> None:
        costs = DetailedCosts.of(total([a_cost(cost_micros=1), a_cost(cost_micros=2, provider="azure")]))
        assert (costs.total_cost_micros, costs.total_cost, costs.provider) == (3, 3e-06, ProviderUsed.HYBRID)
        assert (costs.input_tokens, costs.output_tokens) == (200, 80)

    def test_nothing_used_means_no_provider(self) -> None:
        assert DetailedCosts.of(total([])).provider is None
