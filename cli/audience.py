"""An audience from a CSV file: every wrong cell is named by line and column, with what to write instead."""

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cli.console import Complaint
from domain.campaign import AudienceMember

COLUMNS = ("recipientId", "accountId", "name", "tier", "region", "spend", "lastSeen", "language")
"""``recipientId`` and ``name`` are required; ``accountId`` only when no account is given beside the file."""

_SURPLUS = "surplus cells"

_REMEDIES: Mapping[str, str] = {
    "recipientId": "write the fan's id: 1 to 64 letters, digits, - or _",
    "accountId": "write an account id such as acct_luna: acct_, then 1 to 64 letters or digits",
    "name": "write 1 to 80 characters",
    "tier": "write at most 40 characters, such as new, standard or vip",
    "region": "write at most 40 characters, such as US",
    "spend": "write US dollars as a plain number with a point, such as 120.50",
    "lastSeen": "write a date as year-month-day, such as 2026-11-01, or leave the cell empty",
    "language": "write two small letters such as en, or a language with its region such as en-US",
}


def read_audience(file: Path, account: str | None = None) -> list[dict[str, Any]]:
    """The recipients as the API takes them; ``account`` speaks where a row names none."""
    text = _text_of(file)
    reader = csv.DictReader(io.StringIO(text, newline=""), restkey=_SURPLUS, strict=True)
    columns = _columns_of(file, reader, account)
    members: list[dict[str, Any]] = []
    complaints: list[str] = []
    first_line: dict[tuple[str, str], int] = {}
    for line, row in _rows(file, reader):
        if not any(isinstance(cell, str) and cell.strip() for cell in row.values()):
            continue
        wrong, member = _member(row, columns, account)
        complaints += [f"line {line}, {complaint}" for complaint in wrong]
        if wrong:
            continue
        recipient = (member["accountId"], member["recipientId"])
        if (first := first_line.setdefault(recipient, line)) != line:
            complaints.append(f"line {line}, column recipientId: repeats line {first} on the same account; remove one")
        members.append(member)
    if complaints:
        raise Complaint(f"{file} is no valid audience", details=complaints, remedy="correct the cells named above")
    if not members:
        raise Complaint(f"{file} names nobody", remedy="add a line for each recipient below the header")
    return members


def accounts_of(members: list[dict[str, Any]]) -> tuple[str, ...]:
    """The accounts that would speak, sorted."""
    return tuple(sorted({member["accountId"] for member in members}))


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise Complaint(f"{file} is not UTF-8 text ({error.reason})", remedy="save it as CSV UTF-8") from None
    except OSError as error:
        raise Complaint(f"{file} can't be read: {error.strerror}", remedy="give the path of a CSV file") from None


def _columns_of(file: Path, reader: "csv.DictReader[str]", account: str | None) -> tuple[str, ...]:
    found = tuple(name.strip() for name in reader.fieldnames or ())
    if len(found) == 1 and ";" in found[0]:
        raise Complaint(f"{file}, line 1: the cells are separated by ;", remedy="save the file with commas instead")
    required = ("recipientId", "name", *(() if account else ("accountId",)))
    complaints = [f"line 1: the column {name} is missing" for name in required if name not in found]
    complaints += [f"line 1: there is no column {name!r}" for name in found if name not in COLUMNS]
    complaints += [f"line 1: the column {name} occurs twice" for name in sorted(set(found)) if found.count(name) > 1]
    if complaints:
        raise Complaint(
            f"{file} is no valid audience", details=complaints, remedy=f"start the file with: {','.join(COLUMNS)}"
        )
    reader.fieldnames = found
    return found


def _rows(file: Path, reader: "csv.DictReader[str]") -> Iterator[tuple[int, dict[str, Any]]]:
    line = reader.line_num
    try:
        for row in reader:
            line = reader.line_num
            yield line, row
    except csv.Error as error:
        raise Complaint(
            f"{file}, line {line + 1}: {error}", remedy='close every quotation mark; write " as ""'
        ) from None


def _member(row: Mapping[str, Any], columns: tuple[str, ...], account: str | None) -> tuple[list[str], dict[str, Any]]:
    """What is wrong with a row, and the row as the API takes it. Empty cells mean the default."""
    if _SURPLUS in row:
        return [f"column {len(columns) + 1}: more cells than columns; put a cell with a comma in quotation marks"], {}
    cells = {name: (row[name] or "").strip() for name in columns}
    given = {name: cell for name, cell in cells.items() if cell}
    if account:
        given.setdefault("accountId", account)
    wrong = [
        f"column {name}: is empty; {_REMEDIES[name]}"
        for name in ("recipientId", "accountId", "name")
        if name not in given
    ]
    try:
        AudienceMember.model_validate(given)
    except ValidationError as error:
        named = dict.fromkeys(str(problem["loc"][0]) for problem in error.errors())
        wrong += [
            f"column {name}: {cells.get(name)!r} is not valid; {_REMEDIES[name]}" for name in named if name in given
        ]
    return wrong, given
