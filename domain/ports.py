"""What the product needs from outside, as small protocols. Adapters implement them; nothing else is assumed."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol
from uuid import UUID

from domain.alert import Alert
from domain.audit import AuditEntry, AuditListing
from domain.breaker import Admission, BreakerView
from domain.budget import Budget, BudgetCaps, BudgetSettings, BudgetStanding
from domain.campaign import AudiencePage, CampaignRecord, CampaignStanding, CampaignStatus
from domain.cost import CostEntry, CostHold, CostTotals, Price
from domain.delivery import (
    AccountControl,
    Attempt,
    Delivered,
    Message,
    MessageOutline,
    MessageReview,
    MessageStatus,
    Outcome,
)
from domain.experiment import ArmObservation, ArmTotals
from domain.flag import Flag, FlagDecision, FlagSnapshotStanding, FlagSubject
from domain.handover import HandOverNote
from domain.legacy import LegacyAnswer, LegacyCall
from domain.model import Model
from domain.observation import Observation, Observed
from domain.progress import WorkflowResult
from domain.prompt import Completion, KeptAnswer, Prompt, ProviderCall, Variant
from domain.provider import ContentPlan, IntentType, ModerationAnswer, Provider, WritingTask
from domain.rate_limit import (
    AccountLimits,
    AccountUsage,
    Caps,
    FanGrants,
    Lease,
    MessageType,
    Reservation,
    Slot,
    Window,
)
from domain.review import AutonomyOptIn
from domain.send_queue import EnqueueBatch, Enqueued, QueueOutlook
from domain.shadow import Comparison


class CampaignFilter(Model):
    """Which requests to list, newest first."""

    owner: str | None = None
    status: CampaignStatus | None = None
    type: IntentType | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


class CampaignListing(Model):
    """One page of a list; ``cursor`` continues it, ``None`` ends it."""

    campaigns: tuple[CampaignRecord, ...]
    cursor: str | None = None


class MessageListing(Model):
    """One page of a campaign's messages."""

    messages: tuple[Message, ...]
    cursor: str | None = None


class ReviewFilter(Model):
    """Whose drafts to list; ``owner`` ``None``: everybody's."""

    owner: str | None = None
    account_id: str | None = None
    campaign_id: str | None = None


class WaitingDraft(Model):
    """A draft that waits for a person, and since when."""

    message: Message
    since: datetime


class ReviewListing(Model):
    """Drafts that wait; ``cursor`` continues the list, ``None`` ends it."""

    drafts: tuple[WaitingDraft, ...]
    cursor: str | None = None


class CampaignStore(Protocol):
    """Requests, their audiences, plans and results."""

    async def create(self, record: CampaignRecord, pages: Sequence[AudiencePage]) -> CampaignRecord:
        """Store a request and its audience once; returns what is stored, which may be an earlier one."""
        ...

    async def get(self, campaign_id: str) -> CampaignRecord | None:
        """The request with its present status."""
        ...

    async def audience_page(self, campaign_id: str, account_id: str, page: int) -> AudiencePage: ...

    async def set_status(
        self, campaign_id: str, status: CampaignStatus, reason: str, *, revision: int | None = None
    ) -> None:
        """Record where the request stands; delivery reads this right before every send.

        ``revision`` counts a workflow's changes from 1: one that is not newer than what is stored is superseded and
        changes nothing. ``None``, for when no workflow is left: the last word, whatever revision is stored.
        A final status is never replaced by it; only ``save_result`` does that.
        """
        ...

    async def save_plan(self, campaign_id: str, plan: ContentPlan) -> None: ...

    async def plan(self, campaign_id: str) -> ContentPlan | None: ...

    async def save_result(self, campaign_id: str, result: WorkflowResult) -> None:
        """Record the final answer and status together."""
        ...

    async def result(self, campaign_id: str) -> WorkflowResult | None: ...

    async def list(self, filters: CampaignFilter, *, limit: int, cursor: str | None) -> CampaignListing: ...


class MessageStore(Protocol):
    """Messages; every change of state is conditional on the state before."""

    async def create_many(self, messages: Sequence[Message]) -> None:
        """Store messages that are not there yet; one that exists stays as it is."""
        ...

    async def get_many(self, campaign_id: str, ids: Sequence[UUID]) -> dict[UUID, Message]:
        """Those that exist, read consistently."""
        ...

    async def transition(
        self,
        campaign_id: str,
        ids: Sequence[UUID],
        target: MessageStatus,
        *,
        reason: str = "",
        batch: int | None = None,
    ) -> int:
        """Bring messages to ``target`` where the state machine allows it; returns how many are there now."""
        ...

    async def decide(
        self,
        drafts: Sequence[Message],
        target: MessageStatus,
        *,
        reason: str,
        review: MessageReview | None,
        now: datetime,
    ) -> None:
        """drafted → ``target``, with who decided it. What is no draft any more stays as it is. Idempotent.

        With ``review`` also what was edited since it was read as one of ``drafts``: nobody has decided about that text.
        """
        ...

    async def edit(self, message: Message) -> bool:
        """Store revision ``n`` of a draft over revision ``n - 1``, also as one that is approved now.

        False when it is no draft any more, or somebody else was faster.
        """
        ...

    async def waiting(self, filters: ReviewFilter, *, limit: int, cursor: str | None) -> ReviewListing:
        """Drafts, those that have waited longest first. A part may hold fewer than ``limit`` although more follow."""
        ...

    async def outlines(self, campaign_id: str, account_id: str) -> list[MessageOutline]:
        """Every message of one account in a campaign, without its text, read consistently."""
        ...

    async def begin_sends(self, attempts: Sequence[Attempt], now: datetime) -> frozenset[UUID]:
        """queued or sending → sending, together with their slots; returns the messages that made the step."""
        ...

    async def settle(self, outcomes: Sequence[Outcome]) -> None:
        """sending → what became of it, all in as few transactions as they fit in. Idempotent.

        ``queued`` only applies while ``attempts`` is the last one; when another attempt was made meanwhile, its
        outcome counts and nothing changes.
        """
        ...

    async def record_recalled(self, message: Message, now: datetime) -> None:
        """sent → recalled; idempotent."""
        ...

    async def dead_letters(self, account_id: str, *, limit: int, cursor: str | None) -> MessageListing:
        """Failed messages of an account that nobody has retried or discarded, newest first."""
        ...

    async def dead_letter(self, account_id: str, message_id: UUID) -> Message | None:
        """One of them."""
        ...

    async def close_dead_letter(self, message: Message, note: str) -> bool:
        """Take a failed message off that list, once; ``note`` says what was done. False: somebody else did."""
        ...

    async def count_by_status(self, campaign_id: str, account_id: str | None = None) -> dict[MessageStatus, int]:
        """How many messages stand where, read consistently."""
        ...

    async def list(
        self,
        campaign_id: str,
        *,
        status: MessageStatus | None,
        account_id: str | None,
        limit: int,
        cursor: str | None,
    ) -> MessageListing: ...


class CostStore(Protocol):
    """The ledger: entries once per operation, totals by scope."""

    async def record(self, entry: CostEntry) -> bool:
        """Write an entry and add it to every total, once; ``False`` when it was there already."""
        ...

    async def operations(self, campaign_id: str) -> frozenset[UUID]:
        """The operations of a campaign that have an entry."""
        ...

    async def hold(self, hold: CostHold) -> bool:
        """Add to what every total holds, once; ``False`` when it is held already or its operation has an entry."""
        ...

    async def holds(self, campaign_id: str) -> Sequence[CostHold]:
        """What is held for a campaign."""
        ...

    async def release(self, hold: CostHold) -> bool:
        """Take it from what the totals hold, once."""
        ...

    async def campaign_totals(self, campaign_id: str) -> CostTotals: ...

    async def user_totals(self, owner: str, first_day: str, last_day: str) -> dict[str, CostTotals]:
        """Totals by day (``YYYY-MM-DD``, UTC), both ends included."""
        ...

    async def global_totals(self, first_day: str, last_day: str) -> dict[str, CostTotals]: ...


class SlotLog(Protocol):
    """The message store's memory of grants: what the limiter starts from when it has lost its own."""

    async def slots(self, account_id: str | None, since_us: int) -> Sequence[Slot]:
        """Slots that count at or after a moment on Redis's clock, of one account or of all; read consistently."""
        ...

    async def keep(self, slots: Sequence[Slot]) -> None:
        """Remember slots that no message is stored with."""
        ...

    async def forget(self, slots: Sequence[Slot]) -> None:
        """Forget slots that were kept and have admitted nothing; only their names count. Idempotent."""
        ...


class Limiter(Protocol):
    """Decides whether a message may be sent now. Raises ``DependencyUnavailable`` when it can't know.

    ``windows`` come from ``domain.rate_limit.windows``. An account (or the system layer) whose memory was lost is
    rebuilt from the message store before anything is granted.
    """

    async def check(self, account_id: str, windows: Sequence[Window]) -> Reservation:
        """What ``reserve`` would answer, without taking anything."""
        ...

    async def reserve(self, account_id: str, windows: Sequence[Window], *, lease_ms: int) -> Reservation:
        """A lease over all windows at once, or a denial that charges nothing."""
        ...

    async def reserve_fans(
        self, account_id: str, fans: Sequence[str], caps: Caps, *, call: UUID, lease_ms: int
    ) -> FanGrants:
        """A slot for each fan by itself, in the windows of ``caps``; the message store keeps those that are granted.

        ``call``: the idempotency key of what reaches them. It arrives once, so what it took before, in an attempt that
        was interrupted or whose outcome is open, does not count against it. It needs a slot of the account beside,
        from ``reserve``.
        """
        ...

    async def release_fans(self, leases: Sequence[Lease]) -> None:
        """Nothing was sent: the slots of ``reserve_fans`` are free again, and the message store forgets them."""
        ...

    async def intact(self, leases: Sequence[Lease]) -> frozenset[str]:
        """The ids of leases that still count. To be asked after their slots were stored and before anything is
        sent: a lease that got lost with Redis's memory before it was stored admits nothing."""
        ...

    async def confirm(self, lease: Lease) -> None:
        """The call completed: the slot counts from now."""
        ...

    async def release(self, lease: Lease) -> None:
        """Nothing was sent: the slot is free again."""
        ...

    async def hold(self, account_id: str, duration_ms: int, reason: str) -> None:
        """Grant nothing to the account for that long: the platform itself asked for it. Never shortens a hold."""
        ...

    async def usage(self, account_id: str, windows: Sequence[Window]) -> AccountUsage:
        """How full the windows are, and every grant that counts in them."""
        ...


class GateState(Model):
    """What may stop a send, read consistently in one call."""

    control: AccountControl
    limits: AccountLimits
    campaigns: dict[str, CampaignStanding]


class DeliveryGate(Protocol):
    """The last look before a send."""

    async def read(self, account_id: str, campaign_ids: Sequence[str]) -> GateState:
        """The account's control and limits, and the campaigns that exist."""
        ...


class AccountStore(Protocol):
    """What operators set for accounts; every change is kept with who made it, when and why."""

    async def control(self, account_id: str) -> AccountControl: ...

    async def put_control(self, control: AccountControl) -> bool:
        """Store revision ``n`` over revision ``n - 1``; False when somebody else was faster."""
        ...

    async def limits(self, account_id: str) -> AccountLimits: ...

    async def put_limits(self, limits: AccountLimits) -> bool:
        """Store revision ``n`` over revision ``n - 1``; False when somebody else was faster."""
        ...

    async def limits_history(self, account_id: str, *, limit: int) -> Sequence[AccountLimits]:
        """What was in force before, newest first, the present one included."""
        ...


class Alerts(Protocol):
    """The alert store."""

    async def raise_alert(self, alert: Alert) -> bool:
        """Keep an alert; False when one with this id is there already."""
        ...

    async def since(self, moment: datetime, *, account_id: str | None = None) -> Sequence[Alert]:
        """Alerts from then on, newest first."""
        ...


class Inbox(Protocol):
    """Webhook events that were consumed."""

    async def seen(self, digest: str) -> bool:
        """Whether an event was taken."""
        ...

    async def take(self, digest: str, event: str, account_id: str, now: datetime) -> bool:
        """Remember an event that has had its effect, and count it for the account's day; False: taken before."""
        ...

    async def counts(self, account_id: str, day: str) -> Mapping[str, int]:
        """Events of an account on a day (``2026-11-22``), by kind."""
        ...


class Gateway(Protocol):
    """The OnlyFans gateway. Raises ``GatewayError``."""

    async def send(
        self, *, account_id: str, recipient_id: str, text: str, key: UUID, screening: str | None
    ) -> Delivered: ...

    async def unsend(self, *, account_id: str, recipient_id: str, platform_message_id: str) -> None:
        """Take a message back; one that is gone already counts as taken back."""
        ...

    async def send_mass(
        self,
        *,
        account_id: str,
        recipient_ids: Sequence[str],
        text: str,
        key: UUID,
        screening: str | None,
        save_for_later: bool,
    ) -> Delivered:
        """One message to many fans in one call, or saved at the platform for later."""
        ...

    async def find_sent(self, *, account_id: str, recipient_id: str, text: str, since: datetime) -> Delivered | None:
        """Read the chat back: the message with this text, sent by us since then, if it is there."""
        ...


class LanguageModel(Protocol):
    """One model at one provider. Raises ``ProviderError``; an error after a billed answer carries its usage."""

    @property
    def keeps_answers(self) -> bool:
        """Whether the provider is to remember what was bought."""
        ...

    async def complete(self, prompt: Prompt, call: ProviderCall) -> Completion:
        """An answer in the prompt's schema."""
        ...

    async def kept_of_step(self, step_id: UUID, *, timeout_s: float) -> Sequence[KeptAnswer]:
        """What was bought for a step already, oldest first; empty where the provider keeps nothing."""
        ...

    async def kept_of_campaign(self, campaign_id: str) -> Sequence[KeptAnswer]:
        """Everything that was bought from this model for a campaign."""
        ...

    async def moderate(self, texts: Sequence[str], *, timeout_s: float) -> Sequence[ModerationAnswer]:
        """What the provider's moderation endpoint thinks of each text."""
        ...


class Moderator(Protocol):
    """The provider's moderation, where there is one. Never raises."""

    @property
    def asks(self) -> bool:
        """Whether anybody is to be asked; otherwise our own rules stand by themselves."""
        ...

    async def opinions(self, texts: Sequence[str]) -> Sequence[ModerationAnswer | None]:
        """One for each text; ``None`` where nobody answered."""
        ...


class Prompts(Protocol):
    """Versioned prompts; the version travels with every message."""

    def plan(self, *, brief: str, message_type: MessageType, languages: Sequence[str], variant: Variant) -> Prompt: ...

    def write(self, task: WritingTask, variant: Variant) -> Prompt: ...

    def judge(self, *, text: str, brief: str) -> Prompt: ...


class Tokens(Protocol):
    """Counts tokens offline."""

    def load(self) -> None:
        """Read the data of today's models now, rather than during the first call."""
        ...

    def count(self, text: str, model: str) -> int:
        """Tokens of ``text`` for a model: exact, or more for a model that is not known."""
        ...

    def of_prompt(self, prompt: Prompt, model: str) -> int:
        """What a prompt is billed as input at most: texts, schema and what a chat adds to each message."""
        ...


class PriceBook(Protocol):
    """List prices, with the installation's own on top."""

    def price(self, provider: Provider, model: str) -> Price:
        """The price of a model; an unknown one costs as much as the most expensive known one."""
        ...


class Breaker(Protocol):
    """Circuit breakers shared by all workers; a local one takes over while they can't be reached. Never raises."""

    async def admit(self, target: str) -> Admission:
        """Whether ``target`` may be called now. Whoever gets the probe must report its outcome."""
        ...

    async def succeeded(self, target: str, admission: Admission) -> bool:
        """Whether this closed the breaker."""
        ...

    async def failed(self, target: str, admission: Admission) -> bool:
        """Whether this opened the breaker."""
        ...

    async def views(self, targets: Sequence[str]) -> Sequence[BreakerView]: ...


class Budgets(Protocol):
    """Reserve, then commit or refund. Raises ``DependencyUnavailable`` when it can't know."""

    async def reserve(self, operation_id: UUID, budgets: Sequence[Budget], micros: int) -> None:
        """Set money aside in all budgets or in none; raises ``CostLimitExceeded`` that names the budget. Idempotent."""
        ...

    async def commit(self, operation_id: UUID, budgets: Sequence[Budget], micros: int) -> None:
        """What the call really cost, after its entry is in the ledger. Idempotent; also for a lost reservation."""
        ...

    async def refund(self, operation_id: UUID, budgets: Sequence[Budget]) -> None:
        """Nothing was billed. Idempotent."""
        ...

    async def read_again(self, budgets: Sequence[Budget]) -> None:
        """The ledger was corrected downwards: read its sums before anything more is granted or denied."""
        ...

    async def standings(self, budgets: Sequence[Budget]) -> Sequence[BudgetStanding]: ...


class BudgetStore(Protocol):
    """Caps that administrators set; every change is kept. ``user``: whose they are, ``None`` for everybody."""

    async def caps(self, owner: str) -> BudgetCaps:
        """Those in force for a user's calls: the user's own, else the installation's."""
        ...

    async def settings(self, user: str | None) -> BudgetSettings:
        """What was set; revision 0: nothing."""
        ...

    async def put(self, user: str | None, settings: BudgetSettings) -> bool:
        """Store revision ``n`` over revision ``n - 1``; False when somebody else was faster."""
        ...

    async def history(self, user: str | None, *, limit: int) -> Sequence[BudgetSettings]:
        """Newest first, the present one included."""
        ...


class ResponseCache(Protocol):
    """Answers that hold nothing personal: plans, which are made from a brief alone, with their general texts.

    A lost or unreachable cache is an empty one: never raises.
    """

    async def plan(self, key: str) -> ContentPlan | None: ...

    async def keep_plan(self, key: str, plan: ContentPlan) -> None: ...


class SimilarityLog(Protocol):
    """Fingerprints of a campaign's latest texts. A lost or unreachable log is an empty one: never raises."""

    async def compare(self, campaign_id: str, fingerprints: Mapping[str, int]) -> Mapping[str, int]:
        """Remember fingerprints by message id; answers for each how many others of the campaign are near-identical."""
        ...


class Experiments(Protocol):
    """Results by arm."""

    async def observe(self, observation: ArmObservation) -> None:
        """Add one observation to its arm, once per ``observation_id``."""
        ...

    async def results(self, experiment: str) -> Sequence[ArmTotals]: ...


class AutonomyStore(Protocol):
    """The recorded opt-ins of accounts."""

    async def get(self, account_id: str) -> AutonomyOptIn: ...

    async def put(self, opt_in: AutonomyOptIn) -> None: ...


class HandOvers(Protocol):
    """Single messages that are stored and that no queue has yet."""

    async def create(self, message: Message, *, keyed: bool) -> None:
        """Store a message that is not there yet together with its note (``HandOverNote``)."""
        ...

    async def done(self, campaign_id: str) -> None:
        """The queue has the message, or it needs none any more. Idempotent."""
        ...

    async def overdue(self, before: datetime) -> Sequence[HandOverNote]:
        """Notes that are older, oldest first. A note appears, and goes, about a second late."""
        ...


class SendQueues(Protocol):
    """The way into an account's send queue."""

    async def enqueue(self, account_id: str, request: EnqueueBatch, *, again: str = "") -> Enqueued:
        """Hand a batch over; repeating it changes nothing while the queue has it.

        ``again``: a repetition that has to reach the queue itself, which may have lost the batch; unique to it.
        """
        ...

    async def outlook(self, account_id: str) -> QueueOutlook | None:
        """What waits; ``None``: the account has no queue yet, or nobody can tell it now."""
        ...

    async def wake(self, account_id: str) -> None:
        """Something about the account changed: look again now. Harmless when there is no queue."""
        ...

    async def drop_message(self, account_id: str, message_id: UUID) -> None:
        """A message was ended outside of the queue: settle it now."""
        ...


class AuditLog(Protocol):
    """Changes and decisions, for as long as the installation keeps them."""

    async def record(self, entry: AuditEntry) -> bool:
        """Keep an entry; False when one with this id is there already."""
        ...

    async def entries(self, subject: str | None, *, limit: int, cursor: str | None) -> AuditListing:
        """Newest first; of one subject, or of everything."""
        ...


class FlagStore(Protocol):
    """The truth about flags."""

    async def get(self, name: str) -> Flag | None:
        """As it is now, read consistently."""
        ...

    async def all(self) -> Sequence[Flag]: ...

    async def put(self, flag: Flag, entry: AuditEntry) -> bool:
        """Store revision ``n`` over revision ``n - 1`` together with its audit entry, then push it to every process.

        False when somebody else was faster.
        """
        ...

    async def history(self, name: str, *, limit: int) -> Sequence[Flag]:
        """Every revision, newest first, the present one included."""
        ...


class Flags(Protocol):
    """This process's snapshot of all flags: evaluated without I/O."""

    def evaluate(self, name: str, subject: FlagSubject) -> FlagDecision:
        """A flag that is not known, or no snapshot at all, is off."""
        ...

    def all(self) -> Sequence[Flag]:
        """The flags of the snapshot, by name."""
        ...

    def standing(self) -> FlagSnapshotStanding: ...

    def on_change(self, listener: Callable[[Sequence[str]], None]) -> Callable[[], None]:
        """Tell ``listener``, which must not raise, the names of the flags whose new revision decides from now on, and
        of those that are gone; what is answered ends that."""
        ...

    async def refresh(self) -> None:
        """Read the store now; raises ``DependencyUnavailable``."""
        ...


class Observations(Protocol):
    """Routed requests, counted by arm and minute."""

    def record(self, observation: Observation) -> None:
        """Count a request, within a moment; nobody waits for it. Kept for a while when the memory is away."""
        ...

    async def observed(self, flag: str, since: datetime) -> Observed:
        """Both arms from a moment on, to the minute; raises ``DependencyUnavailable``."""
        ...


class LegacySystem(Protocol):
    """The system that was there before."""

    def exchange(self, call: LegacyCall) -> AbstractAsyncContextManager[LegacyAnswer]:
        """Pass a request on as it is; the answer's body is read inside of the context. Raises ``LegacyUnavailable``.

        Leaving the context ends the call, whether or not the body was read.
        """
        ...


class ShadowStore(Protocol):
    """Parity of shadow runs."""

    async def add(self, comparison: Comparison) -> None:
        """Count a comparison, once."""
        ...

    async def comparisons(self, since: datetime, *, limit: int) -> Sequence[Comparison]:
        """Newest first, at most ``limit`` of them."""
        ...


class Dependency(Protocol):
    """Something that must be reachable for the product to work."""

    name: str

    async def check(self) -> Mapping[str, str]:
        """Facts about it (version, address without secrets); raises when it can't be reached."""
        ...
