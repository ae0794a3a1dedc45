"""Payloads of Temporal as JSON through Pydantic, whose errors never quote what they refuse.

The SDK logs why it dropped a signal that it could not read. A person may have typed anything into that signal.
"""

from typing import Any

from pydantic import ValidationError
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import PydanticJSONPlainPayloadConverter
from temporalio.converter import CompositePayloadConverter, DataConverter, DefaultPayloadConverter


class DiscreetJsonConverter(PydanticJSONPlainPayloadConverter):
    """Raises ``ValueError`` that names the expected type and the kind of mistake, and nothing of the input."""

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        """Our models hide their input, but what is around them (``Model | None``, ``str``) does not."""
        try:
            return super().from_payload(payload, type_hint)
        except ValidationError as error:
            kinds = sorted({str(entry["type"]) for entry in error.errors(include_input=False, include_url=False)})
            raise ValueError(f"this is no {error.title}: {', '.join(kinds)}") from None


class DiscreetPayloadConverter(CompositePayloadConverter):
    """The default converters with ours for JSON."""

    def __init__(self) -> None:
        ours = DiscreetJsonConverter()
        defaults = DefaultPayloadConverter.default_encoding_payload_converters
        super().__init__(*(ours if each.encoding == ours.encoding else each for each in defaults))


DATA_CONVERTER = DataConverter(payload_converter_class=DiscreetPayloadConverter)
"""For every client, and so for every worker."""
