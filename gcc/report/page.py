"""A report as a value of Python."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path


@dataclass(frozen=True, repr=False)
class ReportPage:
    """A written report, which a notebook shows in place.

    Attributes:
        path: its file.
        html: its content.
    """

    path: Path
    html: str

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    def _repr_html_(self) -> str:
        return f'<iframe srcdoc="{escape(self.html)}" title="report" width="100%" height="640" style="border: 0"></iframe>'
