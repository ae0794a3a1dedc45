"""Comparing two answers field by field, and adding comparisons up."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.shadow import MAX_FIELDS, STATUSES, ComparedAnswer, Comparison, FieldParity, compare, parity

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


def answer(body: Any = None, status: int = 200, **headers: str) -> ComparedAnswer:
    return ComparedAnswer(status, headers, body)


def differences(legacy: ComparedAnswer, hybrid: ComparedAnswer) -> dict[str, FieldParity]:
    return {field.field: field for field in compare(legacy, hybrid) if field.differing}


def comparison(number: int, legacy: ComparedAnswer, hybrid: ComparedAnswer, **changes: Any) -> Comparison:
    fields: dict[str, Any] = {
        "comparison_id": str(number),
        "at": NOW,
        "intent": "content_planning",
        "fields": compare(legacy, hybrid),
        "legacy_ms": float(number),
        "hybrid_ms": float(10 * number),
    }
    return Comparison(**fields | changes)


class TestCompare:
    @pytest.mark.parametrize(
        ("legacy", "hybrid", "kind"),
        [
            ({"a": 1}, {"a": 2}, "different_value"),
            ({"a": 1}, {"a": "1"}, "different_type"),
            ({"a": 1}, {"a": True}, "different_type"),
            ({"a": None}, {"a": {}}, "different_type"),
            ({"a": 1}, {"b": 1}, "missing_in_hybrid"),
            ({"a": [1, 2]}, {"a": [2, 1]}, "different_value"),
        ],
    )
    def test_a_difference_has_its_kind(self, legacy: Any, hybrid: Any, kind: str) -> None:
        assert getattr(differences(answer(legacy), answer(hybrid))["body.a"], kind) == 1

    def test_numbers_are_numbers(self) -> None:
        assert differences(answer({"a": 1}), answer({"a": 1.0})) == {}

    def test_what_must_differ_is_compared_by_type(self) -> None:
        legacy, hybrid = answer({"data": {"id": "legacy-1"}}), answer({"data": {"id": "c1"}})
        [field] = [each for each in compare(legacy, hybrid) if each.field == "body.data.id"]
        assert (field.same, field.by_type) == (1, 1)
        assert differences(legacy, answer({"data": {"id": 7}}))["body.data.id"].different_type == 1

    def test_status_and_headers_count(self) -> None:
        found = differences(answer(status=200, etag="1", date="x"), answer(status=500, vary="2"))
        assert set(found) == {"status", "header:etag", "header:vary"}

    def test_names_that_are_data_are_not_kept(self) -> None:
        names = {field.field for field in compare(answer({"fans": {"1002003": 1, "Maya Lee": 2}}), answer())}
        assert names == {"status", "body", "body.fans.*1", "body.fans.*2"}

    def test_none_of_several_such_names_is_lost(self) -> None:
        legacy, hybrid = answer({"1002": 1, "1003": 2}), answer({"1003": 2, "1002": 999})
        assert differences(legacy, hybrid)["body.*1"].different_value == 1

    def test_what_says_something_about_the_connection_is_not_compared(self) -> None:
        legacy = ComparedAnswer(200, {"content-length": "3", "connection": "close"}, None)
        assert differences(legacy, ComparedAnswer(200, {"transfer-encoding": "chunked"}, None)) == {}

    def test_the_status_of_what_was_only_planned_is_not_compared(self) -> None:
        legacy, planned = answer({"data": {"status": "sent"}}), answer({"data": {"status": "completed"}})
        assert differences(legacy, planned)["body.data.status"].different_value == 1
        [status] = [each for each in compare(legacy, planned, by_type=STATUSES) if each.field == "body.data.status"]
        assert (status.same, status.by_type) == (1, 1)

    @given(documents, documents)
    def test_values_are_never_kept_and_the_same_is_the_same(self, one: Any, other: Any) -> None:
        assert not differences(answer(one), answer(one))
        found = compare(answer(one), answer(other))
        assert len(found) <= 2 * MAX_FIELDS + 1
        assert all(field.same + field.differing == 1 for field in found)
        assert all("SECRET" not in field.field for field in compare(answer({"a": "SECRET"}), answer(json.dumps(one))))


class TestParity:
    def test_nothing_yet(self) -> None:
        report = parity([], NOW)
        assert (report.runs, report.alike, report.hybrid_latency.p95, report.truncated) == (0, 0, None, False)

    def test_what_is_not_counted_is_said(self) -> None:
        same = answer({"status": "success"})
        runs = [comparison(n, same, same, at=NOW - timedelta(minutes=n)) for n in range(4)]
        report = parity(runs, NOW - timedelta(days=1), most=3)
        assert (report.runs, report.truncated, report.since) == (3, True, NOW - timedelta(minutes=2))
        whole = parity(runs, NOW - timedelta(days=1), most=4)
        assert (whole.runs, whole.truncated, whole.since) == (4, False, NOW - timedelta(days=1))

    def test_fields_intents_errors_latencies_and_costs(self) -> None:
        same, other = answer({"status": "success"}), answer({"status": "error"})
        runs = [comparison(number, same, same, cost_micros=5) for number in range(1, 20)]
        runs += [
            comparison(20, same, other),
            comparison(21, same, same, fields=(), error="timeout", intent="message_generation", cost_micros=7),
        ]
        report = parity(runs, NOW)
        assert (report.runs, report.answered, report.alike) == (21, 20, 19)
        assert report.errors == {"timeout": 1}
        assert report.cost_micros == 19 * 5 + 7
        assert (report.legacy_latency.p50, report.legacy_latency.p95) == (10, 19)
        assert report.hybrid_latency.p95 == 190
        assert (report.fields[0].field, report.fields[0].same, report.fields[0].different_value) == (
            "body.status",
            19,
            1,
        )
        assert [(each.intent, each.runs, each.alike) for each in report.intents] == [
            ("content_planning", 20, 19),
            ("message_generation", 1, 0),
        ]
