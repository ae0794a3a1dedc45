"""The plan of a chaos run, and a verdict that no broken promise escapes."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.campaign import CampaignStatus
from domain.delivery import MessageStatus
from domain.rate_limit import Layer
from local.chaos.money import Left, Money, Spent, book_of, what_does_not_add_up
from local.chaos.plan import AI_FAULTS, FAULTS, WORKERS, Plan, Trouble
from local.chaos.verdict import Booked, Busiest, Evidence, Told, busiest, limits_in_force, what_does_not_hold
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
        windows_before_the_last_message = (drawn.recipients - 1) // limit
        assert windows_before_the_last_message * drawn.window_s >= drawn.steps()[-1].at_s + drawn.spare_s

    def test_every_fault_has_a_seed_of_its_own(self) -> None:
        plan = Plan()
        seeds = {str(fault["seed"]) for fault in (*plan.faults(), *plan.faults_of_ai())}
        assert len(seeds) == len(FAULTS) + len(AI_FAULTS)

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
    PLAN = Plan(recipients=3, accounts=1, kills=1, flushes=0, redis_restarts=0, temporal_restarts=0)

    @pytest.fixture
    def evidence(self) -> Evidence:
        """Two were sent, one was skipped: every promise held."""
        return Evidence(
            plan=self.PLAN,
            status=CampaignStatus.COMPLETED,
            outcomes={MessageStatus.SENT: 2, MessageStatus.SKIPPED: 1},
            told=[
                Told("m1", "acct_a", "1", MessageStatus.SENT),
                Told("m2", "acct_a", "2", MessageStatus.SENT),
                Told("m3", "acct_a", "3", MessageStatus.SKIPPED, "expired"),
            ],
            booked=[Booked("m1", "acct_a", "1"), Booked("m2", "acct_a", "2")],
            busiest=[Busiest(Layer.ACCOUNT, limit=2, seconds=1, most=2)],
            troubles={Trouble.KILL_WORKER: 1},
            money=MONEY,
        )

    def test_nothing_is_wrong_with_a_good_run(self, evidence: Evidence) -> None:
        assert what_does_not_hold(evidence) == ()

    @pytest.mark.parametrize(
        ("change", "complaint"),
        [
            ({"status": None}, "did not end within 600 s"),
            ({"status": CampaignStatus.FAILED}, "ended as failed"),
            ({"outcomes": {MessageStatus.SENT: 2}}, "2 of 3 recipients are in a terminal state"),
            ({"outcomes": {MessageStatus.SENT: 3}}, "the result says 3 sent"),
            ({"booked": [Booked("m1", "acct_a", "1")]}, "1 count as sent, but never arrived: m2"),
            (
                {"booked": [Booked(key, "acct_a", key[1]) for key in ("m1", "m2", "m3")]},
                "1 arrived, but do not count as sent: m3",
            ),
            (
                {"booked": [Booked(key, "acct_a", key[1]) for key in ("m1", "m2", "m2")]},
                "2 got more than one message or were accepted twice: acct_a/2, m2",
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

    def test_a_recalled_message_was_delivered(self, evidence: Evidence) -> None:
        told = [replace(evidence.told[0], status=MessageStatus.RECALLED), *evidence.told[1:]]
        outcomes = {MessageStatus.SENT: 1, MessageStatus.RECALLED: 1, MessageStatus.SKIPPED: 1}
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
