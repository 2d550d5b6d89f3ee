"""Conversion reports, as text for people."""

from typing import Any

import rich_click as click

from serval.commands.output import escaped_lines, say


def print_report(version: dict[str, Any]) -> None:
    """`version`: with `failure`, `held` and `report`, as the API returns them."""
    if failure := version.get("failure"):
        click.echo(escaped_lines(f"not converted: {failure['message']}"))
    if report := version.get("report"):
        for line in lines_of(report):
            say(line)
    if held := version.get("held"):
        click.echo(escaped_lines(f"not live: {held['message']}"))


def lines_of(report: dict[str, Any]) -> list[str]:
    """A report, one fact per line."""
    largest, mean = report["largest_difference"], report["mean_difference"]
    saved_with = report["scikit_learn_saved_with"] or "an unknown version"
    lines = [
        f"{report['estimator']}, converted in {report['form']} in {report['seconds']:.1f} s",
        f"{report['rows']} rows verified: {agreement(report)}, largest difference {largest:.3g}, mean {mean:.3g}",
        f"scikit-learn: saved with {saved_with}, verified with {report['scikit_learn_verified_with']}",
    ]
    if report["expected_rows"]:
        lines.append(
            f"{report['expected_rows']} rows with an expected answer: {report['expected_agreement']:.2%} agree"
        )
    return lines + [f"note: {note}" for note in report["notes"]]


def agreement(report: dict[str, Any]) -> str:
    ties = f" ({report['ties']} ties not counted)" if report["ties"] else ""
    beside = report.get("rows_beside_jumps", 0)
    jumps = f" ({beside} beside jumps)" if beside else ""
    return ("all agree" if report["agreement"] == 1 else f"{report['agreement']:.3%} agree") + ties + jumps
