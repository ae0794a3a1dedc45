"""One request from arrival to answer: the API key, the idempotency key, the faults, then the work itself.

A fault decides three things: whether the work is done, what is stored under the idempotency key, and what, if
anything, reaches the client.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from local.faults import hang, reset_connection
from local.onlyfans.gateway import Gateway, banned
from local.onlyfans.idempotency import KeyScope, fingerprint
from local.onlyfans.model import Call, GatewayFault, Reply

INVALID_API_KEY = "invalid"

_GATEWAY_TIMEOUT = Reply.refused(504, "GATEWAY_TIMEOUT", "OnlyFans did not answer in time.")


@dataclass(frozen=True)
class Exchange:
    """One call of one endpoint."""

    gateway: Gateway
    request: Request
    call: Call

    async def run(self, work: Callable[[], Reply]) -> Response:
        """Answers a call that takes no idempotency key."""
        return unauthorized(self.request) or await self._execute(None, work)

    async def run_once(self, work: Callable[[str | None], Reply]) -> Response:
        """Answers a call that an idempotency key makes safe to repeat; `work` receives the key."""
        denied = unauthorized(self.request)
        if denied is not None:
            return denied
        key = self.request.headers.get("idempotency-key")
        if key is None or self.call.account is None:
            return await self._execute(None, lambda: work(None))
        scope = KeyScope(self.call.endpoint, self.call.account, key)
        meaning = fingerprint(self.call.chat_id, await self.request.body())
        held = self.gateway.keys.begin(scope, meaning, self.gateway.clock.now_ns())
        if held is None:
            return await self._execute(scope, lambda: work(key))
        if "Idempotent-Replayed" in held.headers:
            held = self.gateway.replay(self.call.account, held)
        return _response(held)

    async def _execute(self, scope: KeyScope | None, work: Callable[[], Reply]) -> Response:
        reply: Reply | None = None
        try:
            strike = self.gateway.faults.strike(lambda rule: rule.covers(self.call))
            if strike.delay_s:
                await asyncio.sleep(strike.delay_s)
            reply = _outcome(strike.rule, work)
        finally:
            # Settled before any hanging: whoever gives up and comes again finds the outcome, not a conflict.
            if scope is not None:
                self.gateway.keys.finish(scope, reply, self.gateway.clock.now_ns())
        return await self._deliver(strike.rule, reply)

    async def _deliver(self, rule: GatewayFault | None, reply: Reply | None) -> Response:
        match rule:
            case GatewayFault(kind="timeout_before_accept" | "accept_then_timeout"):
                await hang(self.request, rule.hang_s)
                return _response(_GATEWAY_TIMEOUT)
            case GatewayFault(kind="connection_reset"):
                return await reset_connection(self.request)
        return _response(reply or _GATEWAY_TIMEOUT)


def _outcome(rule: GatewayFault | None, work: Callable[[], Reply]) -> Reply | None:
    """What the call came to: the work's own answer, a refusal, or None when it never got as far."""
    match rule:
        case GatewayFault(kind="rate_limited"):
            return Reply.limited("Too many requests.", rule.retry_after_s)
        case GatewayFault(kind="server_error"):
            if rule.after_accept and rule.arrives_after_s:
                asyncio.get_running_loop().call_later(rule.arrives_after_s, work)
            elif rule.after_accept:
                work()
            return Reply.refused(rule.status, "SERVER_ERROR", "OnlyFans is unavailable.")
        case GatewayFault(kind="session_expired"):
            return Reply.refused(401, "SESSION_EXPIRED", "The account's OnlyFans session has expired: reconnect it.")
        case GatewayFault(kind="banned_words"):
            return banned(list(rule.words))
        case GatewayFault(kind="timeout_before_accept") | GatewayFault(kind="connection_reset", after_accept=False):
            return None
    return work()


def unauthorized(request: Request) -> Response | None:
    """401 unless the request carries a bearer key that is not the one called `invalid`."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and key.strip() not in ("", INVALID_API_KEY):
        return None
    return _response(Reply.refused(401, "UNAUTHENTICATED", "Invalid API key."))


def _response(reply: Reply) -> Response:
    return JSONResponse(reply.body, reply.status, reply.headers)
