"""How each dialect says no: the error bodies of OpenAI and of Azure OpenAI."""

from typing import Any

from local.ai.model import Dialect, ModelCall

CONTEXT_WINDOW_TOKENS = 128_000

Body = dict[str, Any]


def unauthorized(dialect: Dialect) -> Body:
    """401."""
    if dialect == "azure":
        message = (
            "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid "
            "key for an active subscription and use a correct regional API endpoint for your resource."
        )
        return _azure("401", message)
    return _openai("Incorrect API key provided.", "invalid_request_error", "invalid_api_key")


def rate_limited(call: ModelCall, retry_after_s: float | None) -> Body:
    """429."""
    wait = "later" if retry_after_s is None else f"after {retry_after_s:g} seconds"
    if call.dialect == "azure":
        return _azure(
            "429", f"Requests to deployment {call.model} have exceeded the call rate limit. Please retry {wait}."
        )
    message = f"Rate limit reached for {call.model}. Please try again {wait}."
    return _openai(message, "requests", "rate_limit_exceeded")


def server_error(dialect: Dialect, status: int) -> Body:
    """5xx."""
    message = "The server had an error while processing your request."
    if dialect == "azure":
        return _azure("ServiceUnavailable" if status == 503 else "InternalServerError", message)
    return _openai(message, "server_error", None)


def context_length(call: ModelCall, used_tokens: int) -> Body:
    """400: the prompt is longer than the model's window."""
    message = (
        f"This model's maximum context length is {CONTEXT_WINDOW_TOKENS} tokens. "
        f"However, your messages resulted in {used_tokens} tokens. Please reduce the length of the messages."
    )
    param = "input" if call.endpoint == "responses" else "messages"
    return _openai(message, "invalid_request_error", "context_length_exceeded", param)


def content_filtered(dialect: Dialect) -> Body:
    """400: the prompt was refused by the content filter."""
    if dialect == "openai":
        message = "Invalid prompt: your prompt was flagged as potentially violating our usage policy."
        return _openai(message, "invalid_request_error", "invalid_prompt")
    message = (
        "The response was filtered due to the prompt triggering Azure OpenAI's content management policy. "
        "Please modify your prompt and retry."
    )
    return {
        "error": {
            "message": message,
            "type": None,
            "param": "prompt",
            "code": "content_filter",
            "status": 400,
            "innererror": {
                "code": "ResponsibleAIPolicyViolation",
                "content_filter_result": filter_results(filtered="sexual") | {"jailbreak": _detected()},
            },
        }
    }


def filter_results(filtered: str | None = None) -> Body:
    """Azure's verdict on a text: severities by category, with at most one that was filtered."""
    return {
        category: {
            "filtered": category == filtered,
            "severity": "high" if category == filtered else "safe",
        }
        for category in ("hate", "self_harm", "sexual", "violence")
    }


def invalid_request(message: str, param: str | None = None) -> Body:
    """400 for a body that makes no sense; both dialects say it alike."""
    return _openai(message, "invalid_request_error", None, param)


def not_found() -> Body:
    """404 in Azure's words: an unknown path, or no `api-version`."""
    return _azure("404", "Resource not found")


def _detected() -> Body:
    return {"filtered": False, "detected": False}


def _azure(code: str, message: str) -> Body:
    return {"error": {"code": code, "message": message}}


def _openai(message: str, kind: str, code: str | None, param: str | None = None) -> Body:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
