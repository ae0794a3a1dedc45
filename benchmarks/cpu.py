"""CPU time of processes, from Linux's ``/proc``; elsewhere nothing is known."""

import os
from collections.abc import Mapping
from pathlib import Path


def cpu_seconds(pids: Mapping[str, int]) -> dict[str, float]:
    """User and system time of each process so far, in s."""
    return {name: seconds for name, pid in pids.items() if (seconds := _of(pid)) is not None}


def _of(pid: int) -> float | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The second field is the program's name in parentheses, which may hold spaces; utime and stime are 14 and 15.
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
