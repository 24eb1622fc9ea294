"""The few shapes that the page's sections share. What is handed to them is HTML, but for what their names call text."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape


def section(title: str, note_text: str, body: str) -> str:
    """Return a section of the page."""
    note = f'<p class="note">{escape(note_text)}</p>' if note_text else ""
    return f"<section><h2>{escape(title)}</h2>{note}{body}</section>"


def figure(title: str, keys: Sequence[tuple[str, str]], chart: str, style: str = "") -> str:
    """Return a chart below its title and its keys: style and text of each."""
    shown = "".join(f'<span class="key {key}">{escape(text)}</span>' for key, text in keys)
    caption = f"<figcaption><b>{escape(title)}</b><span>{shown}</span></figcaption>" if title else ""
    return f'<figure class="{style}">{caption}{chart}</figure>'


def row(*cells: str) -> str:
    """Return a table's row."""
    return f"<tr>{''.join(cells)}</tr>"
