"""Limits as people write them."""

import pytest

from cli.console import Complaint
from cli.limits import cap_of, types_of
from domain.rate_limit import AccountLimitsRequest


def test_caps_are_what_the_api_takes() -> None:
    caps = [cap_of("10/60"), cap_of("none/3600"), cap_of("0/0.5")]
    assert caps == [
        {"limit": 10, "seconds": 60.0},
        {"limit": None, "seconds": 3600.0},
        {"limit": 0, "seconds": 0.5},
    ]
    by_type = types_of(["promotional=50/86400", "custom=5/60", "custom=20/3600"])
    assert [len(by_type[kind]) for kind in ("promotional", "custom")] == [1, 2]
    AccountLimitsRequest.model_validate({"account": caps, "messageTypes": by_type})


@pytest.mark.parametrize("text", ["10", "10/", "ten/60", "10/60/60", "-1/60", ""])
def test_anything_else_is_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(Complaint) as refused:
        cap_of(text)
    assert "10/60" in refused.value.remedy


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    with pytest.raises(Complaint) as refused:
        types_of(["letter=1/60"])
    assert "promotional" in refused.value.remedy
