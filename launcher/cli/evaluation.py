"""The evaluation of a downloaded model: scores and confusion matrix."""

from __future__ import annotations

from typing import Any

from launcher.terminal import Output, Terminal


def show(evaluation: dict[str, Any], terminal: Terminal, output: Output) -> None:
    """Write metrics/evaluation.json as tables, or as it is with --output json."""
    if output == "json":
        terminal.document(evaluation)
        return
    terminal.rows([{"metric": name, "value": entry["value"]} for name, entry in evaluation["metrics"].items()])
    matrix = evaluation.get("confusion_matrix")
    if matrix:
        terminal.say(f"confusion matrix: rows are {matrix['rows']}, columns are {matrix['columns']}")
        terminal.rows(
            [
                {"stars": star} | {str(column): count for column, count in enumerate(counts, start=1)}
                for star, counts in enumerate(matrix["counts"], start=1)
            ]
        )
