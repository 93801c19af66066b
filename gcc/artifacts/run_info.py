"""When, how long and on what machine a run has trained: `run.json` in its folder."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from gcc.artifacts.run_folder import INFO_FILE
from gcc.utils.files import write_text


@dataclass(frozen=True)
class RunInfo:
    """When, how long and on what machine a run has trained.

    Attributes:
        started: the time of its first start, in ISO 8601.
        finished: the time of its end; empty before.
        seconds: training time, all starts together.
        machine: the processors.
    """

    started: str
    finished: str
    seconds: float
    machine: str


def read_info(out: Path) -> RunInfo | None:
    """Return what is known of the run in a folder; None without the file, or if it is damaged."""
    try:
        content = json.loads((out / INFO_FILE).read_text(encoding="utf-8"))
        started, finished, seconds, machine = (content[name] for name in ("started", "finished", "seconds", "machine"))
        info = RunInfo(str(started), str(finished), float(seconds), str(machine))
        datetime.fromisoformat(info.started)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return info


class RunClock:
    """Measures how long a run trains, and goes on counting in a resumed run.

    Args:
        out: the run's folder.
        machine: the processors.
    """

    def __init__(self, out: Path, machine: str) -> None:
        self._out = out
        self._info = replace(read_info(out) or RunInfo(_now(), "", 0.0, machine), machine=machine)
        self._began = time.monotonic()

    def save(self) -> None:
        """Write the time so far.

        Raises:
            OutputError: the file cannot be written.
        """
        self._write("")

    def finish(self) -> None:
        """Write that the run has ended.

        Raises:
            OutputError: the file cannot be written.
        """
        self._write(_now())

    def _write(self, finished: str) -> None:
        info = replace(self._info, finished=finished, seconds=round(self._info.seconds + time.monotonic() - self._began, 1))
        write_text(self._out / INFO_FILE, json.dumps(asdict(info), indent=2) + "\n")


def _now() -> str:
    return datetime.now(UTC).astimezone().isoformat(timespec="seconds")
