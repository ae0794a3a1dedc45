"""Moments that callers name."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from domain.model import Moment

# RFC 3339 writes offsets in whole minutes; CPython 3.11 does not read back those below a second.
OFFSETS = st.builds(lambda minutes: timezone(timedelta(minutes=minutes)), st.integers(-14 * 60, 14 * 60))
MOMENT: TypeAdapter[datetime] = TypeAdapter(Moment)


class TestMoment:
    @given(st.datetimes(datetime(2000, 1, 3), datetime(2099, 12, 30), timezones=OFFSETS))  # noqa: DTZ001
    def test_the_same_moment_is_the_same_however_it_is_written(self, moment: datetime) -> None:
        read = MOMENT.validate_python(moment.isoformat())
        assert (read, read.tzinfo) == (moment, UTC)

    @pytest.mark.parametrize(
        "text", ["2026-11-22T18:00:00", "2026-11-22", "tomorrow", "1795337751", "", 1795337751, True, ["2026"]]
    )
    def test_without_a_zone_it_is_refused_and_an_example_is_given(self, text: object) -> None:
        with pytest.raises(ValidationError, match="with its time zone, such as 2026-11-22T18:00:00Z"):
            MOMENT.validate_python(text)

    @pytest.mark.parametrize(
        "text",
        ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00+05:00", "1999-12-31T23:59:59Z"],
    )
    def test_what_would_leave_the_calendar_is_refused(self, text: str) -> None:
        with pytest.raises(ValidationError, match="between 2000 and 2100"):
            MOMENT.validate_python(text)
