"""The verdict over a demo: each broken promise is named, and only a whole run passes."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pytest
from typer.testing import CliRunner

from adapters.price import ListPrices
from adapters.prompt import FilePrompts
from adapters.settings import Settings
from adapters.tokens import OfflineTokens
from cli.audience import read_audience
from cli.console import Complaint
from cli.demo import BRIEF, ScenarioName
from cli.demo_review import attended
from cli.environment import EXAMPLE_AUDIENCE
from cli.main import app
from domain.campaign import CampaignStatus, WorkflowIntent, languages_of
from domain.compliance import MAX_ALIKE, ComplianceReport, check
from domain.cost import Usage, micros_from_dollars
from domain.delivery import Message, MessageOrigin, MessageReview, MessageStatus, message_id
from domain.progress import DetailedCosts, WorkflowResult
from domain.prompt import Variant
from domain.provider import ContentPlan, Provider, RecipientProfile, WritingTask
from domain.rate_limit import MessageType
from local.ai.model import ModelCall, ProviderFault
from local.demo import AccountDelivery, Evidence, Reviewed, list_price_micros, what_does_not_hold
from local.scenario import MAX_COST, SCENARIOS, Scenario

NOW = datetime(2026, 11, 22, tzinfo=UTC)
TEXT = "Hi Maya, something new is on my page, and I would love your opinion."
WORD = MessageReview(decided_by="ana", decided_at=NOW)


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


def message(number: int, status: MessageStatus = MessageStatus.SENT, **changes: Any) -> Message:
    """The message to fan ``number``, as the product has it."""
    recipient = str(1000 + number)
    known = Message(
        message_id=message_id("demo", "acct_luna", recipient),
        campaign_id="demo",
        account_id="acct_luna",
        recipient_id=recipient,
        page=0,
        message_type=MessageType.PROMOTIONAL,
        status=status,
        text=TEXT,
        updated_at=NOW,
    )
    return known.model_copy(update=changes)


def told(messages: Sequence[Message], **changes: Any) -> Evidence:
    """Evidence of a run in which what was sent arrived as it was."""
    sent = [each for each in messages if each.status is MessageStatus.SENT]
    outcomes = {MessageStatus.SENT: len(sent)}
    return replace(
        WHOLE,
        messages=messages,
        arrived={(each.account_id, each.recipient_id): (each.text,) for each in sent},
        result=result(audience=len(messages), cached=len(messages), outcomes=outcomes),
        **changes,
    )


WHOLE = Evidence(
    result=result(),
    messages=(message(1),),
    arrived={("acct_luna", "1001"): (TEXT,)},
    deliveries={
        "acct_luna": AccountDelivery(accepted=8, busiest=8),
        "acct_nova": AccountDelivery(accepted=10, busiest=10),
    },
    duplicates=0,
    billed=Usage(input_tokens=1_000, output_tokens=500),
    billed_micros=450,
    billed_calls=1,
    fault_armed=True,
)


class TestWhatDoesNotHold:
    def test_a_whole_run_passes(self) -> None:
        assert what_does_not_hold(WHOLE) == ()

    def test_real_services_have_no_book_to_compare(self) -> None:
        assert what_does_not_hold(replace(WHOLE, billed=None, billed_micros=None, billed_calls=None)) == ()

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
            (
                replace(WHOLE, arrived={("acct_luna", "1001"): ("Hi",)}),
                "1 fans got another text than the product says",
            ),
        ],
    )
    def test_a_broken_promise_is_named(self, broken: Evidence, expected: str) -> None:
        assert what_does_not_hold(broken) == (expected,)

    def test_a_message_that_came_twice_does_not_hide_one_that_never_came(self) -> None:
        assert what_does_not_hold(replace(WHOLE, duplicates=1)) == (
            "1 messages arrived twice",
            "1 messages count as sent, but never arrived",
        )


def broken(scenario: str, evidence: Evidence) -> tuple[str, ...]:
    return tuple(SCENARIOS[scenario].broken(evidence))


class TestFallback:
    def test_a_fallback_was_shown(self) -> None:
        assert broken("fallback", WHOLE) == ()

    def test_a_failure_without_a_fallback_on_record_is_named(self) -> None:
        unnoticed = replace(WHOLE, result=result(fallback_count=0))
        assert broken("fallback", unnoticed) == ("Azure failed on purpose, but no fallback is on record",)

    def test_a_real_service_was_not_made_to_fail(self) -> None:
        assert broken("fallback", replace(WHOLE, fault_armed=False, result=result(fallback_count=0))) == ()


def cached(number: int, report: ComplianceReport | None = None, **changes: Any) -> Message:
    origin = MessageOrigin(provider="cache", model="", prompt_version="", cached=True)
    return message(number, origin=origin, compliance=report or check(TEXT), **changes)


BLAST = check(TEXT, alike=MAX_ALIKE + 1)
MANY = (*(cached(number) for number in range(MAX_ALIKE + 1)), cached(MAX_ALIKE + 1, BLAST, review=WORD))


class TestCached:
    def test_general_texts_were_shown(self) -> None:
        assert broken("cached", told(MANY)) == ()
        assert broken("cached", told([cached(1)])) == (), "a text for few fans is no blast"

    @pytest.mark.parametrize(
        ("evidence", "expected"),
        [
            (
                replace(told(MANY), result=result(audience=12, cached=11)),
                "nobody could write to 12 fans, but 11 general texts are on record",
            ),
            (told((*MANY, message(99))), "1 messages were sent that are not marked as general texts"),
            (told(MANY, billed_calls=2), "the plan is all that was to be paid for, but 2 calls were billed"),
            (
                told([cached(number) for number in range(MAX_ALIKE + 2)]),
                "12 fans were to get the same text, and nobody was asked",
            ),
            (
                told((*MANY[:-1], cached(50, BLAST))),
                "1 near-identical messages were sent without a person's word",
            ),
        ],
    )
    def test_a_broken_promise_is_named(self, evidence: Evidence, expected: str) -> None:
        assert broken("cached", evidence) == (expected,)


EDITED = TEXT + " Thank you."
DECIDED = (
    message(1, text=EDITED, review=WORD, revision=1),
    message(2, MessageStatus.REJECTED, review=WORD),
    message(3, review=WORD),
)
REVIEWED = Reviewed(waited=3, edited=DECIDED[0].message_id, edited_text=EDITED, rejected=DECIDED[1].message_id)


class TestReview:
    def test_a_review_was_shown(self) -> None:
        assert broken("review", told(DECIDED, reviewed=REVIEWED)) == ()

    @pytest.mark.parametrize(
        ("evidence", "expected"),
        [
            (told(DECIDED), "nothing waited for a person"),
            (
                told((*DECIDED, message(4)), reviewed=REVIEWED),
                "1 messages were sent without a person's word",
            ),
            (
                told((message(1, review=WORD), *DECIDED[1:]), reviewed=REVIEWED),
                "the edited text did not arrive as it was edited",
            ),
            (
                told((DECIDED[0], message(2, MessageStatus.SKIPPED), DECIDED[2]), reviewed=REVIEWED),
                "the rejected message ended as skipped",
            ),
            (
                replace(
                    told(DECIDED, reviewed=REVIEWED),
                    arrived={("acct_luna", "1001"): (EDITED,), ("acct_luna", "1002"): (TEXT,)},
                ),
                "the rejected message arrived",
            ),
        ],
    )
    def test_a_broken_promise_is_named(self, evidence: Evidence, expected: str) -> None:
        assert broken("review", evidence) == (expected,)


def skipped(number: int, reason: str = "cost_limit_exceeded") -> Message:
    return message(number, MessageStatus.SKIPPED, reason=reason, text="")


class TestBudget:
    def test_a_stop_was_shown(self) -> None:
        assert broken("budget", told([message(1), skipped(2)])) == ()

    @pytest.mark.parametrize(
        ("evidence", "expected"),
        [
            (
                told([message(1), skipped(2)], billed_micros=2_001),
                "2001 micro-dollars were spent, more than maxCost (2000)",
            ),
            (told([skipped(1)]), "the money was used up before anything could be sent"),
            (told([message(1)]), "the money was to be used up in the middle, but nobody was skipped"),
            (
                told([message(1), skipped(2), skipped(3, "expired")]),
                "1 messages were skipped for another reason than cost_limit_exceeded",
            ),
        ],
    )
    def test_a_broken_promise_is_named(self, evidence: Evidence, expected: str) -> None:
        assert broken("budget", evidence) == (expected,)


class TestScenarios:
    def test_the_command_line_knows_all_of_them(self) -> None:
        assert get_args(ScenarioName) == tuple(SCENARIOS)

    def test_an_unknown_one_is_answered_with_their_names(self, tmp_path: Path) -> None:
        ran = CliRunner().invoke(app, ["demo", "--scenario", "chaos", "--directory", str(tmp_path / "stack")])
        assert ran.exit_code != 0
        assert all(name in ran.stderr for name in SCENARIOS)
        assert not (tmp_path / "stack").exists()

    def test_an_audience_that_is_too_small_is_refused(self, tmp_path: Path) -> None:
        file = tmp_path / "audience.csv"
        file.write_text("recipientId,accountId,name\n1001,acct_luna,Maya\n")
        ran = CliRunner().invoke(app, ["demo", "--scenario", "budget", "--audience", str(file)])
        assert ran.exit_code == 1
        assert "the scenario budget needs 24 fans" in ran.stderr

    @pytest.mark.parametrize("name", [name for name, scenario in SCENARIOS.items() if scenario.simulated_only])
    def test_what_only_a_simulator_does_is_not_asked_of_a_real_service(self, name: str) -> None:
        ran = CliRunner().invoke(app, ["demo", "--scenario", name, "--real-ai"])
        assert ran.exit_code == 1
        assert f"the scenario {name} needs the simulated AI services" in ran.stderr

    @pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=list(SCENARIOS))
    def test_what_it_asks_for_exists(self, scenario: Scenario) -> None:
        members = scenario.audience(read_audience(EXAMPLE_AUDIENCE))
        assert len(members) >= scenario.at_least
        assert {name.removeprefix("HUNTAZE_").lower() for name in scenario.env} <= Settings.model_fields.keys()
        for fault in scenario.faults:
            ProviderFault.model_validate(fault)
        context = {"accountId": "acct_luna", "complianceLevel": scenario.level}
        WorkflowIntent.model_validate(
            {
                "type": "campaign_execution",
                "brief": "Spring sale",
                "onlyFansContext": context,
                "audience": members,
                **scenario.request,
            }
        )

    def test_the_money_that_runs_out_is_enough_for_the_plan(self) -> None:
        scenario = SCENARIOS["budget"]
        context = {"accountId": "acct_luna", "complianceLevel": scenario.level}
        intent = WorkflowIntent.model_validate(
            {
                "type": "campaign_execution",
                "brief": BRIEF,
                "onlyFansContext": context,
                "audience": scenario.audience(read_audience(EXAMPLE_AUDIENCE)),
            }
        )
        model = Settings().openai_model
        planning = FilePrompts().plan(
            brief=BRIEF,
            message_type=MessageType.PROMOTIONAL,
            languages=languages_of(intent),
            variant=Variant.USUAL,
        )
        most = (
            ListPrices()
            .price(Provider.OPENAI, model)
            .most(OfflineTokens().of_prompt(planning, model), planning.max_output_tokens)
        )
        assert most <= micros_from_dollars(MAX_COST)

    def test_when_everybody_fails_the_plan_is_still_made(self) -> None:
        prompts = FilePrompts()
        fan = RecipientProfile(recipient_id="1001", name="Maya")
        plan = ContentPlan(theme="Spring", tone="warm", angle="thanks", call_to_action="have a look")
        task = WritingTask(brief="Sale", message_type=MessageType.CUSTOM, plan=plan, recipients=(fan,))
        (outage,) = (ProviderFault.model_validate(fault) for fault in SCENARIOS["cached"].faults)
        for call in (ModelCall("azure", "chat", "gpt-4o"), ModelCall("openai", "chat", "gpt-4o-mini")):
            for variant in Variant:
                planning = prompts.plan(
                    brief="Sale", message_type=MessageType.CUSTOM, languages=("en",), variant=variant
                )
                assert outage.covers(call, prompts.write(task, variant).text)
                assert not outage.covers(call, planning.text)

    def test_the_budget_of_its_sentence_is_the_one_that_is_asked_for(self) -> None:
        assert SCENARIOS["budget"].request["maxCost"] == str(MAX_COST)


class TestAttended:
    async def test_a_campaign_that_ends_first_needed_nobody(self) -> None:
        async def campaign() -> str:
            return "done"

        async def person() -> Reviewed:
            await asyncio.Event().wait()
            raise AssertionError

        assert await attended(campaign(), person()) == ("done", None)

    async def test_what_the_person_did_is_told(self) -> None:
        decided = asyncio.Event()

        async def campaign() -> str:
            await decided.wait()
            return "done"

        async def person() -> Reviewed:
            decided.set()
            return Reviewed(waited=3)

        assert await attended(campaign(), person()) == ("done", Reviewed(waited=3))

    async def test_a_refusal_ends_both(self) -> None:
        async def campaign() -> str:
            await asyncio.Event().wait()
            raise AssertionError

        async def person() -> Reviewed:
            raise Complaint("409")

        with pytest.raises(Complaint, match="409"):
            await attended(campaign(), person())


class TestListPriceMicros:
    def test_each_call_is_rounded_up_by_itself(self) -> None:
        call = {"dialect": "openai", "input_tokens": 1, "output_tokens": 1}
        assert list_price_micros([call, call]) == 2
        assert list_price_micros([{**call, "dialect": "azure"}]) == 13
