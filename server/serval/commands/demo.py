"""`serval demo`: from training to a prediction, on real data."""

import sys

import rich_click as click


@click.command()
def demo() -> None:
    """Start a server, train three models on real data, upload them and ask them.

    On a terminal the server stays until Ctrl-C; else the exit code tells whether every answer was right.
    """
    from serval.commands.demonstration import run_demo

    sys.exit(run_demo())
