"""The plan of a chaos run, and a verdict that no broken promise escapes."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.campaign import CampaignStatus
from domain.delivery import MessageStatus
from domain.rate_limit import Layer
from local.caller import intent
from local.chaos.money import Left, Money, Spent, book_of, what_does_not_add_up
from local.chaos.plan import AI_FAULTS, FAULTS, REGULARS_FAULTS, SINGLES, WORKERS, Plan, Trouble
from local.chaos.verdict import (
    Booked,
    Busiest,
    Evidence,
    Fault,
    Told,
    busiest,
    faults_of,
    limits_in_force,
    what_does_not_hold,
)
from tests.end_to_end.test_chaos import SMALL


class TestPlan:
    def test_a_seed_decides_everything(self) -> None:
        assert Plan(seed=3).steps() == Plan(seed=3).steps()
        assert Plan(seed=3).steps() != Plan(seed=4).steps()

    def test_every_trouble_happens_as_often_as_asked(self) -> None:
        plan = Plan()
        steps = plan.steps()
        assert Counter(step.trouble for step in steps) == Counter(plan.wanted)
        assert plan.kills == 30
        assert {step.part for step in steps if step.trouble is Trouble.KILL_WORKER} == set(WORKERS)

    @pytest.mark.parametrize("plan", [Plan(), SMALL, Plan(recipients=35), Plan(kills=1, flushes=0)])
    @given(seed=st.integers(min_value=0))
    def test_the_campaign_outlasts_the_trouble(self, plan: Plan, seed: int) -> None:
        drawn = replace(plan, seed=seed)
        limit = drawn.policy.system[0].limit
        assert limit is not None
        windows_before_the_last_message = (drawn.messages - 1) // limit
        assert windows_before_the_last_message * drawn.window_s >= drawn.steps()[-1].at_s + drawn.spare_s

    def test_every_fault_has_a_seed_of_its_own(self) -> None:
        plan = Plan()
        seeds = {str(fault["seed"]) for fault in (*plan.faults(), *plan.faults_of_ai())}
        assert len(seeds) == len(FAULTS) + plan.regulars * len(REGULARS_FAULTS) + len(AI_FAULTS)

    def test_regulars_are_fans_of_the_campaign(self) -> None:
        plan = Plan(recipients=8, accounts=3, regulars=5)
        audience = {(fan["accountId"], fan["recipientId"]) for fan in intent(plan.account_ids, 8)["audience"]}
        regulars = [(regular.account, regular.recipient) for regular in plan.written_besides()]
        assert len(set(regulars)) == 5
        assert audience.issuperset(regulars)

    def test_a_regular_is_sent_two_messages_that_say_the_same(self) -> None:
        assert sorted(Counter(SINGLES).values()) == [1, 2]

    def test_every_layer_has_a_window(self) -> None:
        layers = {window.layer for window in limits_in_force(Plan().policy)}
        assert layers == {Layer.ACCOUNT, Layer.MESSAGE_TYPE, Layer.RECIPIENT, Layer.SYSTEM}


SPENT = Spent(calls=2, micros=5, input_tokens=30, output_tokens=4)
MONEY = Money(
    book={"openai/gpt-4o-mini": SPENT},
    entries={"openai/gpt-4o-mini": SPENT},
    operations=2,
    lost=1,
    unusable=1,
    totals=SPENT,
    days=SPENT,
    result_micros=5,
    committed={"request": 5},
    reserved=0,
    left=Left(rest_granted=True, more_denied=True),
)
"""Everything adds up."""


class TestMoney:
    def test_nothing_is_wrong_with_equal_sums(self) -> None:
        assert tuple(what_does_not_add_up(MONEY)) == ()

    @pytest.mark.parametrize(
        ("change", "complaint"),
        [
            ({"book": {}, "entries": {}}, "billed nothing"),
            ({"entries": {}}, "openai/gpt-4o-mini: the AI simulator billed 5 µ$ for 2 calls"),
            ({"entries": {**MONEY.entries, "azure/gpt-4o": SPENT}}, "azure/gpt-4o: the AI simulator billed 0 µ$"),
            ({"operations": 1}, "2 calls were billed, and the ledger has 1 operations"),
            ({"totals": replace(SPENT, micros=6)}, "the campaign's total: 6 µ$"),
            ({"days": replace(SPENT, calls=3)}, "the caller's days: 5 µ$ for 3 calls"),
            ({"result_micros": 0}, "the campaign's result says 0 µ$"),
            ({"committed": {"request": 4}}, "the budget request has 4 µ$ committed"),
            ({"reserved": 7}, "7 µ$ are set aside after the last lease was over"),
            ({"left": Left(rest_granted=False, more_denied=True)}, "what the cap has left was denied"),
            ({"left": Left(rest_granted=True, more_denied=False)}, "more than the cap has left was granted"),
        ],
    )
    def test_every_sum_that_is_off_is_named(self, change: dict[str, object], complaint: str) -> None:
        found = tuple(what_does_not_add_up(replace(MONEY, **change)))  # type: ignore[arg-type]
        assert any(complaint in sentence for sentence in found), found

    def test_each_call_of_the_book_is_rounded_up_by_itself(self) -> None:
        call = {
            "dialect": "openai",
            "model": "gpt-4o-mini",
            "input_tokens": 1,
            "output_tokens": 1,
            "cached_tokens": 0,
            "reasoning_tokens": 0,
        }
        # 0.15 and 0.60 µ$ a token: 0.75 µ$, twice.
        assert book_of([call, call]) == {"openai/gpt-4o-mini": Spent(2, 2, 2, 2)}


class TestVerdict:
    PLAN = Plan(recipients=2, accounts=1, regulars=1, kills=1, flushes=0, redis_restarts=0, temporal_restarts=0)
    BESIDES = tuple(Told(f"s{n}", "acct_a", "1", MessageStatus.SENT, receipt=f"72{n}") for n in range(3))
    BOOKED_BESIDES = tuple(Booked(f"s{n}", "acct_a", "1", f"72{n}") for n in range(3))

    @pytest.fixture
    def evidence(self) -> Evidence:
        """Two were sent, and one of the fans got three more: every promise held."""
        return Evidence(
            plan=self.PLAN,
            status=CampaignStatus.COMPLETED,
            outcomes={MessageStatus.SENT: 2},
            told=[
                Told("m1", "acct_a", "1", MessageStatus.SENT, receipt="711"),
                Told("m2", "acct_a", "2", MessageStatus.SENT, receipt="712"),
            ],
            besides=self.BESIDES,
            booked=[
                Booked("m1", "acct_a", "1", "711"),
                Booked("m2", "acct_a", "2", "712"),
                *self.BOOKED_BESIDES,
            ],
            busiest=[Busiest(Layer.ACCOUNT, limit=2, seconds=1, most=2)],
            troubles={Trouble.KILL_WORKER: 1},
            faults=[
                Fault("gateway", "server error", 0.05, met=1_000, struck=62),
                Fault("gateway", "rate limited", 0.3, met=4, struck=1, count=1),
                Fault("AI", "hang", 0.02, met=80, struck=0),
            ],
            money=MONEY,
        )

    def test_nothing_is_wrong_with_a_good_run(self, evidence: Evidence) -> None:
        assert what_does_not_hold(evidence) == ()

    @pytest.mark.parametrize(
        ("change", "complaint"),
        [
            ({"status": None}, "did not end within 600 s"),
            ({"status": CampaignStatus.FAILED}, "ended as failed"),
            ({"outcomes": {MessageStatus.SENT: 1}}, "1 of 2 recipients are in a terminal state"),
            ({"outcomes": {MessageStatus.SENT: 3}}, "the result says 3 sent"),
            (
                {"besides": [*BESIDES[:2], Told("s2", "acct_a", "1", MessageStatus.FAILED, "gave_up")]},
                "1 ended without being sent, although nothing was refused for good: s2 (failed: gave_up)",
            ),
            (
                {"booked": [Booked("m1", "acct_a", "1", "711"), *BOOKED_BESIDES]},
                "1 count as sent, but never arrived: m2",
            ),
            (
                {"booked": [Booked(key, "acct_a", key[1], f"71{key[1]}") for key in ("m1", "m2", "m3")]},
                "1 arrived, but do not count as sent: m3",
            ),
            (
                {"booked": [Booked(key, "acct_a", key[1], "71") for key in ("m1", "m2", "m2")]},
                "1 got a message too many: acct_a/2",
            ),
            (
                {"booked": [Booked("m1", "acct_a", "1", "711", "other words"), *BOOKED_BESIDES]},
                "1 got a message too many: acct_a/1",
            ),
            (
                {"besides": [replace(BESIDES[0], receipt="721"), *BESIDES[1:]]},
                "2 have the receipt of another message: s0, s1",
            ),
            (
                {"besides": [replace(BESIDES[0], receipt="712"), *BESIDES[1:]]},
                "1 count as sent, but never arrived: s0",
            ),
            ({"besides": BESIDES[:2]}, "2 of 3 single messages are known"),
            (
                {"besides": [*BESIDES[:2], replace(BESIDES[2], status=MessageStatus.SENDING)]},
                "1 single messages did not end: s2",
            ),
            (
                {"faults": [Fault("gateway", "server error", 0.05, met=1_000, struck=0)]},
                "gateway: server error: asked for, but it never struck",
            ),
            (
                {"faults": [Fault("gateway", "rate limited", 0.3, met=0, struck=0, count=1)]},
                "gateway: rate limited: asked for, but it never struck",
            ),
            (
                {"faults": [Fault("gateway", "server error", 0.05, met=1_000, struck=20)]},
                "gateway: server error: 20 of 1000 calls, asked for 5%",
            ),
            (
                {"faults": [Fault("AI", "hang", 0.02, met=80, struck=8)]},
                "AI: hang: 8 of 80 calls, asked for 2%",
            ),
            (
                {"busiest": [Busiest(Layer.SYSTEM, limit=2, seconds=1, most=3)]},
                "system: 3 messages in 1 s, more than 2",
            ),
            ({"troubles": {}}, "worker killed: 0 times instead of 1"),
            ({"crashes": ("api exited with code 3",)}, "api exited with code 3"),
            ({"money": None}, "nobody looked at the money"),
            ({"money": replace(MONEY, result_micros=4)}, "the campaign's result says 4 µ$"),
        ],
    )
    def test_every_broken_promise_is_named(self, evidence: Evidence, change: dict[str, object], complaint: str) -> None:
        broken = what_does_not_hold(replace(evidence, **change))  # type: ignore[arg-type]
        assert any(complaint in sentence for sentence in broken), broken

    def test_which_of_two_that_say_the_same_is_which_does_not_matter(self, evidence: Evidence) -> None:
        swapped = [replace(self.BESIDES[0], receipt="721"), replace(self.BESIDES[1], receipt="720"), self.BESIDES[2]]
        assert what_does_not_hold(replace(evidence, besides=swapped)) == ()

    def test_faults_of_one_kind_are_counted_together(self) -> None:
        rule = {"kind": "server_error", "probability": 0.4, "count": 1, "chat_id": "1000", "met": 3, "fired": 1}
        always = {"kind": "server_error", "probability": 0.1, "count": None, "met": 9, "fired": 2, "after_accept": True}
        assert faults_of("gateway", [rule, always, {**rule, "chat_id": "1001", "fired": 0}]) == (
            Fault("gateway", "server error in the chat of a regular", 0.4, met=6, struck=1, count=2),
            Fault("gateway", "server error after acceptance", 0.1, met=9, struck=2),
        )

    def test_a_recalled_message_was_delivered(self, evidence: Evidence) -> None:
        told = [replace(evidence.told[0], status=MessageStatus.RECALLED), *evidence.told[1:]]
        outcomes = {MessageStatus.SENT: 1, MessageStatus.RECALLED: 1}
        assert what_does_not_hold(replace(evidence, told=told, outcomes=outcomes)) == ()

    def test_each_layer_is_compared_with_its_own_subjects(self) -> None:
        limits = limits_in_force(Plan().policy)
        report = {
            "accounts": {"a": {"max_in_windows": [4] * len(limits)}, "b": {"max_in_windows": [5] * len(limits)}},
            "recipients": {"max_in_windows": [1] * len(limits)},
            "totals": {"max_in_windows": [9] * len(limits)},
        }
        most = {found.layer: found.most for found in busiest(limits, report)}
        assert most == {Layer.ACCOUNT: 5, Layer.MESSAGE_TYPE: 5, Layer.RECIPIENT: 1, Layer.SYSTEM: 9}
