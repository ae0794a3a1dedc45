"""The bodies that an answer is wrapped in: a chat completion or a response."""

import time
from typing import Any

from local.ai.dialect import filter_results
from local.ai.model import Answer, ModelCall, Usage

REFUSAL = "I'm sorry, but I can't help with that."


def chat_completion(request_id: str, call: ModelCall, answer: Answer, usage: Usage) -> dict[str, Any]:
    """`chat.completion`; Azure adds its filter's verdicts."""
    refused = answer.outcome == "refusal"
    filtered = answer.outcome == "content_filter"
    choice: dict[str, Any] = {
        "index": 0,
        "message": {
            "role": "assistant",
            "content": None if refused else answer.content,
            "refusal": REFUSAL if refused else None,
            "annotations": [],
        },
        "logprobs": None,
        "finish_reason": "stop" if refused else answer.outcome,
    }
    body: dict[str, Any] = {
        "id": f"chatcmpl-{request_id}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": call.model,
        "choices": [choice],
        "usage": {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.input_tokens + usage.output_tokens,
            "prompt_tokens_details": {"cached_tokens": usage.cached_tokens, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": usage.reasoning_tokens,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
        "service_tier": "default",
        "system_fingerprint": "fp_local",
    }
    if call.dialect == "azure":
        choice["content_filter_results"] = filter_results("sexual" if filtered else None)
        body["prompt_filter_results"] = [{"prompt_index": 0, "content_filter_results": filter_results()}]
    return body


def response(request_id: str, call: ModelCall, answer: Answer, usage: Usage) -> dict[str, Any]:
    """`response`: incomplete when it was cut off or filtered."""
    incomplete = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(answer.outcome)
    status = "incomplete" if incomplete else "completed"
    content: dict[str, Any] = {"type": "output_text", "text": answer.content, "annotations": [], "logprobs": []}
    if answer.outcome == "refusal":
        content = {"type": "refusal", "refusal": REFUSAL}
    message = {
        "id": f"msg_{request_id}",
        "type": "message",
        "role": "assistant",
        "status": status,
        "content": [content],
    }
    now = int(time.time())
    return {
        "id": f"resp_{request_id}",
        "object": "response",
        "created_at": now,
        "completed_at": None if incomplete else now,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": incomplete} if incomplete else None,
        "instructions": None,
        "metadata": {},
        "model": call.model,
        "output": [] if answer.outcome == "content_filter" else [message],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": usage.input_tokens,
            "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
            "output_tokens": usage.output_tokens,
            "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
            "total_tokens": usage.input_tokens + usage.output_tokens,
        },
    }
