"""Conversion reports, as text for people."""

from typing import Any

import rich_click as click


def print_report(found: dict[str, Any]) -> None:
    """`found`: `status`, `failure`, `held` and `report` of a version, as the API gives them."""
    if failure := found.get("failure"):
        click.echo(f"not converted: {failure['message']}")
    if report := found.get("report"):
        for line in lines_of(report):
            click.echo(line)
    if held := found.get("held"):
        click.echo(f"not live: {held['message']}")


def lines_of(report: dict[str, Any]) -> list[str]:
    """A report, a fact a line."""
    largest, mean = report["largest_difference"], report["mean_difference"]
    lines = [
        f"{report['estimator']}, converted in {report['form']} in {report['seconds']:.1f} s",
        f"{report['rows']} rows verified: {agreement(report)}, largest difference {largest:.3g}, mean {mean:.3g}",
        f"scikit-learn {report['scikit_learn_saved_with'] or 'unknown'} there, {report['scikit_learn_verified_with']} here",
    ]
    if report["expected_rows"]:
        lines.append(
            f"{report['expected_rows']} rows came with the answer expected: {report['expected_agreement']:.2%} agree"
        )
    return lines + [f"note: {note}" for note in report["notes"]]


def agreement(report: dict[str, Any]) -> str:
    ties = f" ({report['ties']} ties not counted)" if report["ties"] else ""
    return ("all agree" if report["agreement"] == 1 else f"{report['agreement']:.3%} agree") + ties
