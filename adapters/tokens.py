"""Tokens, counted offline: the encodings and their data come with the package ``quicktok-v1``.

Which model has which encoding: https://github.com/openai/tiktoken/blob/main/tiktoken/model.py. What a chat adds to
its messages: https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken.
"""

from functools import lru_cache

import quicktok

from domain.prompt import Prompt

_O200K, _CL100K = "o200k_base", "cl100k_base"

_ENCODINGS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("gpt-4o", "chatgpt-4o", "gpt-4.1", "gpt-4.5", "gpt-5", "o1", "o3", "o4"), _O200K),
    (("gpt-4", "gpt-3.5", "gpt-35"), _CL100K),
)
"""By the beginning of a model's name; the first that fits counts."""

_PER_MESSAGE = 4
"""Three around each message, one for its role."""

_BEFORE_ANSWER = 3

_PER_SCHEMA = 64
"""How a schema is put before a model is not public. It was never seen to take more than its JSON and a short frame."""

_CHARACTERS_PER_TOKEN = 4
"""An estimate never relies on fewer tokens than this: a provider may count otherwise than its published encoding."""


class OfflineTokens:
    """``domain.ports.Tokens``. The first count for an encoding reads its data, which takes up to a second."""

    def load(self) -> None:
        """Read the data of today's models now, rather than during the first call."""
        _encoding(_O200K)

    def count(self, text: str, model: str) -> int:
        """Exact for OpenAI's published encodings; for any other model as many as ``text`` has bytes in UTF-8.

        Encodings of bytes never make more tokens than that.
        """
        return _count(text, _encoding_of(model))

    def of_prompt(self, prompt: Prompt, model: str) -> int:
        """What a prompt is billed as input at most: texts, schema and what a chat adds to each message."""
        encoding = _encoding_of(model)
        frame = 2 * _PER_MESSAGE + _PER_SCHEMA + _BEFORE_ANSWER
        fixed = _at_most_of_fixed(prompt.system, encoding) + _at_most_of_fixed(prompt.schema_text, encoding)
        return frame + fixed + _at_most(prompt.user, encoding)


@lru_cache(maxsize=64)
def _at_most_of_fixed(text: str, encoding: str | None) -> int:
    """Of what is the same for many calls, and about nobody: what is remembered here stays in memory."""
    return _at_most(text, encoding)


def _at_most(text: str, encoding: str | None) -> int:
    return max(_count(text, encoding), -(-len(text) // _CHARACTERS_PER_TOKEN))


def _count(text: str, encoding: str | None) -> int:
    if text.isascii():
        return len(text) if encoding is None else int(_encoding(encoding).count(text))
    # Half a surrogate pair can't be sent either.
    readable = text.encode(errors="replace")
    return len(readable) if encoding is None else int(_encoding(encoding).count(readable.decode()))


@lru_cache
def _encoding_of(model: str) -> str | None:
    name = model.lower().removeprefix("ft:")
    return next((encoding for beginnings, encoding in _ENCODINGS if name.startswith(beginnings)), None)


@lru_cache
def _encoding(name: str) -> quicktok.Tokenizer:
    return quicktok.get_encoding(name)
