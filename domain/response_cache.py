"""The name under which an answer is kept, so that it is found for the same question of the same owner only."""

import json
from collections.abc import Iterable
from hashlib import sha256

from domain.rate_limit import MessageType


def plan_key(owner: str, brief: str, message_type: MessageType, languages: Iterable[str], prompt_version: str) -> str:
    """A digest of everything that a plan is made from, and of whose it is; the order of languages does not matter.

    JSON keeps the parts apart: no owner and brief read like another owner with another brief. Nothing of the brief can
    be read from a key.
    """
    question = [owner, brief, message_type, sorted(set(languages)), prompt_version]
    return sha256(json.dumps(question).encode()).hexdigest()
