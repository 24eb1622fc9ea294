"""The evaluation of a downloaded model: scores and confusion matrix."""

from __future__ import annotations

from typing import Any

from launcher.terminal import Output, Terminal


def show(evaluation: dict[str, Any], terminal: Terminal, output: Output) -> None:
    """Write metrics/evaluation.json as tables, or as it is with --output json."""
    if output == "json":
        terminal.document(evaluation)
        return
    try:
        metrics = [{"metric": name, "value": entry["value"]} for name, entry in evaluation["metrics"].items()]
        matrix = evaluation.get("confusion_matrix")
        counts = [
            {"stars": star} | {str(column): count for column, count in enumerate(row, start=1)}
            for star, row in enumerate(matrix["counts"] if matrix else [], start=1)
        ]
        axes = f"rows are {matrix['rows']}, columns are {matrix['columns']}" if matrix else ""
    except (AttributeError, LookupError, TypeError):
        terminal.say("metrics/evaluation.json is another model's: --output json shows it as it is")
        return
    terminal.rows(metrics)
    if counts:
        terminal.say(f"confusion matrix: {axes}")
        terminal.rows(counts)
