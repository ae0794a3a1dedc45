"""One request from arrival to answer: the count, the key, the faults, then the model and its bill."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from local.ai import author, dialect
from local.ai.model import Answer, ModelCall, Prompt, ProviderFault, Usage, tokens
from local.ai.provider import Provider
from local.faults import hang, reset_connection

INVALID_API_KEY = "invalid"

Envelope = Callable[[str, ModelCall, Answer, Usage], dict[str, Any]]


@dataclass(frozen=True)
class Exchange:
    """One call of one endpoint."""

    provider: Provider
    request: Request
    call: ModelCall
    request_id: str

    async def write(self, prompt: Prompt, envelope: Envelope, label: dict[str, str] | None = None) -> Response:
        """Answers a prompt and bills it; with a label the answer is stored under it."""
        if (refused := self._refused()) is not None:
            return refused
        rule = await self._strike(prompt.text)
        if rule is not None and not rule.bill and (ended := await self._fail(rule, prompt.text)) is not None:
            return ended
        body = self._written(prompt, rule, envelope, label)
        if rule is not None and rule.bill and (lost := await self._fail(rule, prompt.text)) is not None:
            return lost
        return self._end(200, body)

    async def tell(self, body: Callable[[], dict[str, Any]], text: str = "") -> Response:
        """Answers with a body that costs nothing; `text` is what the caller wants judged."""
        if (refused := self._refused()) is not None:
            return refused
        rule = await self._strike(text)
        if rule is not None and (ended := await self._fail(rule, text)) is not None:
            return ended
        return self._end(200, body())

    def _refused(self) -> Response | None:
        """Counts the call; the end of one without a key."""
        self.provider.count_request(self.call)
        if _key(self.request, self.call) in ("", INVALID_API_KEY):
            return self._end(401, dialect.unauthorized(self.call.dialect))
        return None

    async def _strike(self, text: str) -> ProviderFault | None:
        """Lets the call wait for as long as it has to; the fault that is meant for it."""
        strike = self.provider.faults.strike(lambda rule: rule.covers(self.call, text))
        delay_s = strike.delay_s + (self.provider.base_latency_s if self.call.endpoint != "models" else 0)
        if delay_s:
            await asyncio.sleep(delay_s)
        return strike.rule

    def _written(
        self, prompt: Prompt, rule: ProviderFault | None, envelope: Envelope, label: dict[str, str] | None
    ) -> dict[str, Any]:
        """What the model writes: billed, and stored if it has a label, whether the caller ever sees it or not."""
        answer = _answer(self.call, prompt, rule)
        usage = self.provider.usage_details.usage(prompt.text, answer.content)
        body = envelope(self.request_id, self.call, answer, usage)
        self.provider.bill(self.request_id, self.call, usage)
        if label is not None:
            self.provider.stored.keep(self.call.dialect, body, label)
        return body

    async def _fail(self, rule: ProviderFault, text: str) -> Response | None:
        """The end that a fault puts to the call; None when the model still answers."""
        ended: Response | None = None
        match rule.kind:
            case "hang":
                self.provider.calls[self.call.dialect, self.call.endpoint].ended["hang"] += 1
                await hang(self.request, rule.hang_s)
                ended = JSONResponse(dialect.server_error(self.call.dialect, 504), 504)
            case "connection_reset":
                self.provider.calls[self.call.dialect, self.call.endpoint].ended["reset"] += 1
                ended = await reset_connection(self.request)
            case "rate_limited":
                ended = self._end(
                    429, dialect.rate_limited(self.call, rule.retry_after_s), retry_after_s=rule.retry_after_s
                )
            case "server_error":
                body = dialect.server_error(self.call.dialect, rule.status)
                ended = self._end(rule.status, body, retry_after_s=rule.retry_after_s)
            case "unauthorized":
                ended = self._end(401, dialect.unauthorized(self.call.dialect))
            case "context_length":
                used = dialect.CONTEXT_WINDOW_TOKENS + tokens(text)
                ended = self._end(400, dialect.context_length(self.call, used))
            case "content_filter" if _shown_as(self.call, rule) == "error":
                ended = self._end(400, dialect.content_filtered(self.call.dialect))
        return ended

    def refuse(self, status: int, body: dict[str, Any]) -> Response:
        """Ends a call that never reached a model."""
        self.provider.count_request(self.call)
        return self._end(status, body)

    def _end(self, status: int, body: dict[str, Any], retry_after_s: float | None = None) -> Response:
        self.provider.calls[self.call.dialect, self.call.endpoint].ended[str(status)] += 1
        headers = {"x-request-id": self.request_id}
        headers |= self.provider.rate_headers(self.call, exhausted=status == 429)
        if self.call.dialect == "azure":
            headers |= {"apim-request-id": self.request_id, "x-ms-region": "Local"}
        if retry_after_s is not None:
            headers["retry-after"] = f"{retry_after_s:g}"
        return JSONResponse(body, status, headers)


def _answer(call: ModelCall, prompt: Prompt, rule: ProviderFault | None) -> Answer:
    if rule is not None and rule.kind == "malformed_json":
        return author.malformed(prompt)
    if rule is not None and rule.kind == "content_filter":
        return Answer("", "refusal" if _shown_as(call, rule) == "refusal" else "content_filter")
    return author.answer(prompt)


def _shown_as(call: ModelCall, rule: ProviderFault) -> str:
    # Azure filters prompts before the model sees them; OpenAI stops the answer.
    return rule.shown_as or ("error" if call.dialect == "azure" else "finish_reason")


def _key(request: Request, call: ModelCall) -> str:
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    key = bearer.strip() if scheme.lower() == "bearer" else ""
    return request.headers.get("api-key", key) if call.dialect == "azure" else key
