"""From a prompt to an answer: what is known about the product's schemas, poured into whatever schema was sent."""

import json

from local.ai import writing
from local.ai.model import Answer, Prompt
from local.ai.schema import UNKNOWN, Filler


def answer(prompt: Prompt) -> Answer:
    """The model's answer: JSON that validates against the prompt's schema, or a short text without one."""
    if prompt.schema is None:
        content = writing.free_text(prompt.text)
    else:
        filler = Filler(prompt.schema, writing.dice_for(prompt.schema_name, prompt.text))
        content = json.dumps(filler.fill(_known(prompt)), ensure_ascii=False)
    most = None if prompt.max_output_tokens is None else prompt.max_output_tokens * 4
    if most is not None and len(content) > most:
        return Answer(content[:most], "length")
    return Answer(content)


def malformed(prompt: Prompt) -> Answer:
    """An answer that breaks off in the middle of its JSON."""
    whole = answer(prompt)
    content = whole.content if prompt.schema is not None else json.dumps({"text": whole.content})
    return Answer(content[: max(len(content) // 2, 1)])


def _known(prompt: Prompt) -> object:
    match prompt.schema_name:
        case "campaign_plan":
            return writing.plan(prompt.request or {"brief": prompt.last_user_text})
        case "message_batch":
            return {"messages": writing.messages(prompt.request)}
        case "text_judgement":
            return writing.judgement(prompt.last_user_text)
        case "single_message":
            return writing.single_message(prompt.request)
    return UNKNOWN
