"""Answers that fit: a value for any JSON schema of the structured-outputs kind, steered by what is known.

Known values are used where the schema allows them and filled up where it asks for more, so that an answer is valid even
when the schema has fields, limits or enumerations that the author has never heard of.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

Schema = Mapping[str, Any]

UNKNOWN: Final = object()
_DEEP = 8
_BOUNDS = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
_FORMATS = {
    "date": "2026-01-15",
    "time": "12:00:00Z",
    "date-time": "2026-01-15T12:00:00Z",
    "duration": "P1D",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "6f1c1d3e-8a1b-5c2d-9e3f-0a1b2c3d4e5f",
}
_WORDS = ("warm", "clear", "honest", "bright", "kind", "simple", "fresh", "gentle")


class Filler:
    """Fills one root schema; `dice` decide whatever the schema leaves open."""

    def __init__(self, root: Schema, dice: random.Random) -> None:
        self._root = root
        self._dice = dice
        self._makers: Mapping[str, Callable[[Schema, object, int], Any]] = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
            "integer": self._number,
            "number": self._number,
            "boolean": self._boolean,
            "null": lambda _schema, _known, _depth: None,
        }

    def fill(self, known: object = UNKNOWN) -> Any:
        """A value that validates against the root schema."""
        return self._value(self._root, known, 0)

    def _value(self, schema: Schema | bool, known: object, depth: int) -> Any:
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return known if known in schema["enum"] else self._dice.choice(list(schema["enum"]))
        for choice in ("anyOf", "oneOf"):
            if choice in schema:
                rest = {name: part for name, part in schema.items() if name != choice}
                return self._value(_merged(rest, self._choose(schema[choice], known, depth)), known, depth)
        return self._makers[self._kind(schema, known, depth)](schema, known, depth)

    def _resolved(self, schema: Schema | bool) -> Schema:
        if isinstance(schema, bool):
            return {}
        if "$ref" in schema:
            target: Any = self._root
            for step in schema["$ref"].lstrip("#").strip("/").split("/"):
                target = target[step.replace("~1", "/").replace("~0", "~")] if step else target
            rest = {name: part for name, part in schema.items() if name != "$ref"}
            return self._resolved(_merged(target, rest))
        if "allOf" in schema:
            merged: Schema = {name: part for name, part in schema.items() if name != "allOf"}
            for part in schema["allOf"]:
                merged = _merged(merged, self._resolved(part))
            return self._resolved(merged)
        return schema

    def _choose(self, options: list[Schema], known: object, depth: int) -> Schema:
        resolved = [self._resolved(option) for option in options]
        if known is not UNKNOWN:
            fitting = [option for option in resolved if self._kind(option, UNKNOWN, 0) == _kind_of(known)]
            if fitting:
                return fitting[0]
        if depth >= _DEEP:
            return next((option for option in resolved if option.get("type") == "null"), resolved[-1])
        return next((option for option in resolved if option.get("type") != "null"), resolved[0])

    def _kind(self, schema: Schema, known: object, depth: int) -> str:
        kind = schema.get("type") or _implied_kind(schema)
        if isinstance(kind, str):
            return kind
        if known is not UNKNOWN and _kind_of(known) in kind:
            return _kind_of(known)
        if depth >= _DEEP and "null" in kind:
            return "null"
        return next((option for option in kind if option != "null"), "null")

    def _object(self, schema: Schema, known: object, depth: int) -> dict[str, Any]:
        given = known if isinstance(known, Mapping) else {}
        properties: Schema = schema.get("properties", {})
        required = schema.get("required", ())
        names = [name for name in properties if name in required or depth < _DEEP]
        filled = {name: self._value(properties[name], given.get(name, UNKNOWN), depth + 1) for name in names}
        missing = [name for name in required if name not in properties]
        return filled | {name: given.get(name, "") for name in missing}

    def _array(self, schema: Schema, known: object, depth: int) -> list[Any]:
        given = list(known) if isinstance(known, list | tuple) else []
        least = schema.get("minItems", 0)
        most = schema.get("maxItems", max(least, len(given), 2))
        wanted = len(given) if isinstance(known, list | tuple) else (1 if depth < _DEEP else 0)
        prefix = list(schema.get("prefixItems", ()))
        size = min(max(wanted, least, len(prefix) if depth < _DEEP else 0), most)
        given += [UNKNOWN] * (size - len(given))
        items = prefix + [schema.get("items", {})] * (size - len(prefix))
        return [self._value(item, value, depth + 1) for item, value in zip(items, given, strict=False)][:size]

    def _string(self, schema: Schema, known: object, _depth: int) -> str:
        least, most = schema.get("minLength", 0), schema.get("maxLength")
        if isinstance(known, str):
            text = known
        else:
            text = _FORMATS.get(schema.get("format", ""), "") or " ".join(self._dice.sample(_WORDS, 2))
        while len(text) < least:
            text = f"{text} {self._dice.choice(_WORDS)}"
        return text if most is None else text[:most]

    def _boolean(self, _schema: Schema, known: object, _depth: int) -> bool:
        return known if isinstance(known, bool) else self._dice.random() < 0.5

    def _number(self, schema: Schema, known: object, depth: int) -> float:
        whole = self._kind(schema, known, depth) == "integer"
        guesses = list(_guesses(schema, whole))
        if isinstance(known, int | float) and not isinstance(known, bool):
            guesses.insert(0, known)
        return next(guess for guess in guesses if _fits(schema, guess, whole))


def _guesses(schema: Schema, whole: bool) -> Iterator[float]:
    """Numbers worth trying: around every bound, in steps where the schema has them."""
    step = schema.get("multipleOf", 1 if whole else None)
    bounds = [schema[name] for name in _BOUNDS if name in schema]
    if len(bounds) > 1:
        bounds.append(sum(bounds) / len(bounds))
    for bound in (*bounds, 0):
        if step is None:
            yield from (bound, bound + 0.5, bound - 0.5)
        else:
            yield from (
                int((bound // step + shift) * step) if whole else (bound // step + shift) * step for shift in (0, 1, -1)
            )


def _fits(schema: Schema, number: float, whole: bool) -> bool:
    step = schema.get("multipleOf")
    return (
        (not whole or number == int(number))
        and number >= schema.get("minimum", number)
        and number <= schema.get("maximum", number)
        and ("exclusiveMinimum" not in schema or number > schema["exclusiveMinimum"])
        and ("exclusiveMaximum" not in schema or number < schema["exclusiveMaximum"])
        and (step is None or number % step == 0)
    )


def _implied_kind(schema: Schema) -> str:
    if "properties" in schema:
        return "object"
    return "array" if "items" in schema or "prefixItems" in schema else "string"


def _merged(first: Schema, second: Schema) -> Schema:
    merged = {**first, **second}
    if "properties" in first and "properties" in second:
        merged["properties"] = {**first["properties"], **second["properties"]}
    if "required" in first and "required" in second:
        merged["required"] = [*first["required"], *second["required"]]
    return merged


def _kind_of(value: object) -> str:
    if value is None:
        return "null"
    kinds: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (bool, "boolean"),
        (int, "integer"),
        (float, "number"),
        (str, "string"),
        (Mapping, "object"),
        ((list, tuple), "array"),
    )
    return next((name for kind, name in kinds if isinstance(value, kind)), "string")
