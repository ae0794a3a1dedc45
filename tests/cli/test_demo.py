"""The verdict over a demo: each broken promise is named, and only a whole run passes."""

from dataclasses import replace
from typing import Any

import pytest

from domain.campaign import CampaignStatus
from domain.cost import Usage
from domain.delivery import MessageStatus
from domain.progress import DetailedCosts, WorkflowResult
from local.demo import AccountDelivery, Evidence, list_price_micros, what_does_not_hold


def result(**changes: Any) -> WorkflowResult:
    whole = WorkflowResult(
        request_id="demo",
        status=CampaignStatus.COMPLETED,
        processing_time=63_000,
        detailed_costs=DetailedCosts(input_tokens=1_000, output_tokens=500, total_cost_micros=450),
        fallback_count=1,
        audience=19,
        outcomes={MessageStatus.SENT: 18, MessageStatus.SKIPPED: 1},
    )
    return whole.model_copy(update=changes)


WHOLE = Evidence(
    result=result(),
    deliveries={
        "acct_luna": AccountDelivery(accepted=8, busiest=8),
        "acct_nova": AccountDelivery(accepted=10, busiest=10),
    },
    duplicates=0,
    billed=Usage(input_tokens=1_000, output_tokens=500),
    billed_micros=450,
    fault_armed=True,
)


class TestWhatDoesNotHold:
    def test_a_whole_run_passes(self) -> None:
        assert what_does_not_hold(WHOLE) == ()

    def test_real_services_have_no_book_to_compare_and_no_fault(self) -> None:
        unarmed = replace(WHOLE, billed=None, billed_micros=None, fault_armed=False, result=result(fallback_count=0))
        assert what_does_not_hold(unarmed) == ()

    @pytest.mark.parametrize(
        ("broken", "expected"),
        [
            (
                replace(WHOLE, result=result(status=CampaignStatus.FAILED, reason="provider_unavailable")),
                "the campaign ended as failed (provider_unavailable)",
            ),
            (
                replace(WHOLE, result=result(outcomes={MessageStatus.SENT: 18})),
                "the audience is 19, but 18 recipients are accounted for",
            ),
            (
                replace(WHOLE, result=result(audience=18, outcomes={MessageStatus.SENT: 18, MessageStatus.QUEUED: 1})),
                "the audience is 18, but 18 recipients are accounted for, 1 are still open",
            ),
            (
                replace(WHOLE, duplicates=2, deliveries={"acct_luna": AccountDelivery(20, 10)}),
                "2 messages arrived twice",
            ),
            (
                replace(WHOLE, deliveries={"acct_luna": AccountDelivery(17, 10)}),
                "1 messages count as sent, but never arrived",
            ),
            (
                replace(WHOLE, deliveries={"acct_luna": AccountDelivery(19, 10)}),
                "1 messages arrived that do not count as sent",
            ),
            (
                replace(WHOLE, deliveries={"acct_luna": AccountDelivery(18, 11)}),
                "acct_luna got 11 messages in 60 s, more than 10",
            ),
            (
                replace(WHOLE, billed=Usage(input_tokens=1_001, output_tokens=500)),
                "the AI simulator billed 1001 tokens in and 500 out, the ledger has 1000 tokens in and 500 out",
            ),
            (
                replace(WHOLE, billed_micros=683),
                "the AI simulator's calls cost 683 micro-dollars, the ledger has 450",
            ),
            (replace(WHOLE, result=result(fallback_count=0)), "Azure failed on purpose, but no fallback is on record"),
        ],
    )
    def test_a_broken_promise_is_named(self, broken: Evidence, expected: str) -> None:
        assert what_does_not_hold(broken) == (expected,)

    def test_a_message_that_came_twice_does_not_hide_one_that_never_came(self) -> None:
        assert what_does_not_hold(replace(WHOLE, duplicates=1)) == (
            "1 messages arrived twice",
            "1 messages count as sent, but never arrived",
        )


class TestListPriceMicros:
    def test_each_call_is_rounded_up_by_itself(self) -> None:
        call = {"dialect": "openai", "input_tokens": 1, "output_tokens": 1}
        assert list_price_micros([call, call]) == 2
        assert list_price_micros([{**call, "dialect": "azure"}]) == 13
