"""Where an error is, in the caller's own words."""

import json

import pytest
from pydantic import ValidationError

from api.examples import INTENT
from api.fields import MOST_ERRORS, field_errors, json_path
from domain.campaign import WorkflowIntent


def fields_of(body: dict[str, object]) -> dict[str, str]:
    with pytest.raises(ValidationError) as refused:
        WorkflowIntent.model_validate_json(json.dumps(body))
    return {error.field: error.message for error in field_errors(refused.value.errors())}


def recipient(**changes: object) -> dict[str, object]:
    return {"recipientId": "1", "name": "Maya"} | changes


class TestFieldErrors:
    @pytest.mark.parametrize(
        ("changes", "field", "remedy"),
        [
            ({"type": "campaign"}, "type", "campaign_execution"),
            ({"type": None}, "type", "campaign_execution"),
            ({"priority": 3}, "priority", "'low'"),
            ({"maxCost": -1}, "maxCost", "greater than 0"),
            ({"maxCost": "much"}, "maxCost", "decimal"),
            ({"platforms": ["fansly"]}, "platforms", "onlyfans"),
            ({"audiance": []}, "audiance", "no such field"),
            ({"audience": []}, "audience", "at least one recipient"),
            ({"brief": " "}, "brief", "needs a brief"),
            ({"type": "content_validation", "audience": []}, "text", "needs the text"),
            ({"onlyFansContext": {"accountId": "luna"}}, "onlyFansContext.accountId", "acct_"),
            ({"onlyFansContext": {}}, "onlyFansContext.accountId", "required"),
            (
                {"onlyFansContext": {"accountId": "acct_a", "complianceLevel": "none"}},
                "onlyFansContext.complianceLevel",
                "'strict'",
            ),
            ({"audience": [recipient(), {"name": "Leo"}]}, "audience[1].recipientId", "required"),
            ({"audience": [recipient(age=30)]}, "audience[0].age", "no such field"),
            ({"audience": [recipient(lastSeen="yesterday")]}, "audience[0].lastSeen", "date"),
            ({"featureFlags": {"fast": "maybe"}}, "featureFlags.fast", "boolean"),
        ],
    )
    def test_names_the_field_and_the_remedy(self, changes: dict[str, object], field: str, remedy: str) -> None:
        found = fields_of(INTENT | changes)
        assert remedy in found[field]

    def test_a_missing_field_is_named(self) -> None:
        body = {name: value for name, value in INTENT.items() if name not in {"type", "onlyFansContext"}}
        assert fields_of(body).keys() == {"type", "onlyFansContext"}

    def test_values_are_never_repeated(self) -> None:
        found = fields_of(INTENT | {"audience": [recipient(name="Maya" * 50, language="Maya from Ohio")]})
        assert "Maya" not in str(found)

    def test_the_list_is_bounded(self) -> None:
        assert len(fields_of(INTENT | {"audience": [{}] * 1_000})) == MOST_ERRORS


def test_json_path() -> None:
    assert json_path(("audience", 3, "recipientId")) == "audience[3].recipientId"
    assert json_path(("pages", 0)) == "pages[0]"
    assert json_path(()) == ""
