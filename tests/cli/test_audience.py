"""A wrong cell is named by line and column, with what to write instead."""

from pathlib import Path

import pytest

from cli.audience import COLUMNS, accounts_of, read_audience
from cli.console import Complaint
from cli.environment import EXAMPLE_AUDIENCE
from domain.campaign import AudienceMember

HEADER = ",".join(COLUMNS)
GOOD = "1,acct_luna,Maya,vip,US,120.50,2026-11-01,en"


def complaint_about(directory: Path, content: str | bytes, account: str | None = None) -> str:
    file = directory / "audience.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(Complaint) as raised:
        read_audience(file, account)
    assert raised.value.remedy
    return "\n".join(raised.value.lines())


class TestReadAudience:
    def test_the_example_has_three_accounts_of_which_one_must_wait(self) -> None:
        members = read_audience(EXAMPLE_AUDIENCE)
        sizes = {name: sum(member["accountId"] == name for member in members) for name in accounts_of(members)}
        assert sizes == {"acct_luna": 8, "acct_nova": 10, "acct_stella": 18}
        assert {member["language"] for member in members} == {"en", "fr", "es", "de"}
        assert {member["tier"] for member in members} == {"new", "standard", "vip"}
        for member in members:
            AudienceMember.model_validate(member)

    def test_empty_cells_mean_the_default_and_empty_lines_nothing(self, tmp_path: Path) -> None:
        file = tmp_path / "audience.csv"
        file.write_text(f"\ufeff{HEADER}\n1,,Maya,,,,,\n\n,,,,,,,\n", encoding="utf-8")
        assert read_audience(file, "acct_nova") == [{"recipientId": "1", "accountId": "acct_nova", "name": "Maya"}]

    def test_two_columns_are_enough_when_an_account_is_given(self, tmp_path: Path) -> None:
        file = tmp_path / "audience.csv"
        file.write_text('recipientId,name\n1,"Maya, the first"\n')
        assert read_audience(file, "acct_nova")[0]["name"] == "Maya, the first"

    @pytest.mark.parametrize(
        ("rows", "expected"),
        [
            ("1,acct_luna,Maya,vip,US,12€,2026-11-01,en", "line 2, column spend: '12€' is not valid; write US dollars"),
            (f"{GOOD}\n2,luna,Leo,new,US,1,,en", "line 3, column accountId: 'luna' is not valid; write an account id"),
            (
                "1,acct_luna,Maya,vip,US,1,1.11.2026,en",
                "line 2, column lastSeen: '1.11.2026' is not valid; write a date",
            ),
            ("1,acct_luna,Maya,vip,US,1,,English", "line 2, column language: 'English' is not valid"),
            ("1,acct_luna,,vip,US,1,,en", "line 2, column name: is empty; write 1 to 80 characters"),
            (f"{GOOD}\n{GOOD}", "line 3, column recipientId: repeats line 2 on the same account"),
            (f"{GOOD},more", "line 2, column 9: more cells than columns"),
            ('1,acct_luna,"Maya', "line 2: unexpected end of data"),
        ],
    )
    def test_a_wrong_cell_is_named(self, tmp_path: Path, rows: str, expected: str) -> None:
        assert expected in complaint_about(tmp_path, f"{HEADER}\n{rows}\n")

    def test_a_missing_column_is_named(self, tmp_path: Path) -> None:
        assert "the column accountId is missing" in complaint_about(tmp_path, "recipientId,name\n1,Maya\n")

    def test_a_misspelt_column_is_named(self, tmp_path: Path) -> None:
        said = complaint_about(tmp_path, "recipientId,accountId,name,Tier\n1,acct_luna,Maya,vip\n")
        assert "there is no column 'Tier'" in said

    def test_a_file_of_another_kind_is_refused(self, tmp_path: Path) -> None:
        assert "separated by ;" in complaint_about(tmp_path, "recipientId;name\n1;Maya\n")
        assert "not UTF-8" in complaint_about(tmp_path, "recipientId,name\n1,Zoë\n".encode("latin-1"), "acct_luna")
        assert "is missing" in complaint_about(tmp_path, "")
        assert "names nobody" in complaint_about(tmp_path, f"{HEADER}\n")

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(Complaint, match=r"nothing\.csv can't be read"):
            read_audience(tmp_path / "nothing.csv")
