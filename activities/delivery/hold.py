"""What the platform's word about an account, rather than about a message, does to it."""

from temporalio import activity

from activities.delivery.events import PlatformEvents
from activities.delivery.findings import Findings
from activities.delivery.ports import DeliveryPorts
from domain.errors import DependencyUnavailable, GatewayError, GatewayFault


async def hold_account(
    ports: DeliveryPorts,
    found: Findings,
    events: PlatformEvents,
    account_id: str,
    error: GatewayError,
    delay_ms: int,
) -> None:
    """Nothing is sent for a while, and whoever has to do something about it learns of it."""
    found.stop(delay_ms, f"gateway:{error.fault}")
    if error.fault is GatewayFault.SESSION_EXPIRED and await events.session_expired():
        return
    await keep_hold(ports, account_id, delay_ms, error.fault)
    if error.fault is GatewayFault.THROTTLED:
        await events.violation(f"429 from the gateway: nothing for {delay_ms} ms")
    elif error.fault is GatewayFault.AUTH:
        await events.auth_failed()


async def keep_hold(ports: DeliveryPorts, account_id: str, delay_ms: int, reason: str) -> None:
    """No slot of the account is granted for so long, by anybody."""
    try:
        await ports.limiter.hold(account_id, delay_ms, reason)
    except DependencyUnavailable:
        # The queue waits as long by its own timer.
        activity.logger.warning("limiter unavailable: a hold is kept by the queue alone")
