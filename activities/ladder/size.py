"""How much a prompt asks of a model: its tokens, counted once for each model that may be asked."""

from domain.cost import Usage
from domain.ports import Tokens
from domain.prompt import Prompt
from domain.routing import Target


class Sized:
    """A prompt whose tokens are known. Targets that share a price share a count."""

    def __init__(self, prompt: Prompt, tokens: Tokens) -> None:
        self.prompt = prompt
        self._tokens = tokens
        self._counts: dict[str, int] = {}

    def at_most(self, target: Target) -> Usage:
        """The most that a call can be charged for."""
        return Usage(input_tokens=self._asked(target), output_tokens=self.prompt.max_output_tokens)

    def fits(self, target: Target) -> bool:
        """Whether the model's context has room for the prompt and its longest answer."""
        return self._asked(target) + self.prompt.max_output_tokens <= target.context_tokens

    def _asked(self, target: Target) -> int:
        name = target.price_name
        if name not in self._counts:
            self._counts[name] = self._tokens.of_prompt(self.prompt, name)
        return self._counts[name]
