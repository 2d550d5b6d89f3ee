"""Writes the generated blocks of this folder, and the help of errors for the server. `make docs` runs it."""
# ruff: noqa: INP001

import inspect
import json
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import click

DOCS = Path(__file__).parent
ROOT = DOCS.parent
ERROR_HELP = ROOT / "server" / "serval" / "http" / "error_help.json"
BLOCK = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
BOUND_TEXT = re.compile(r'let (\w+) = ("[^"]+");\n([^\n]*)\b\1\b')
"""A text with a name of its own, which the next line of Rust uses."""
SHARED_OPTIONS = {"url", "api_key", "data_dir", "as_json"}
"""Of every command that calls a server; a section of their page describes them."""
METRIC = re.compile(r'(Counter\(\s*)?"((?:serval|process)_[a-z_]+)",\s*(?:"(?:counter|gauge|histogram)",\s*)?"([^"]+)"')


def main() -> None:
    for page in sorted(DOCS.glob("*.md")):
        page.write_text(rewritten(page.read_text()))
    ERROR_HELP.write_text(error_help())


def error_help() -> str:
    """The help text of each error code as JSON, which the server shows at `/docs/errors`."""
    sections = re.split(r"^## (\w+)$", (DOCS / "errors.md").read_text(), flags=re.MULTILINE)[1:]
    texts = {code: inspect.cleandoc(text.strip()) for code, text in zip(sections[::2], sections[1::2], strict=True)}
    return json.dumps(texts, indent=1, ensure_ascii=False) + "\n"


def rewritten(page: str) -> str:
    """The page with each `<!-- generated: name -->` block as the code has it now."""
    return BLOCK.sub(lambda block: block[1] + "\n".join(BLOCKS[block[2]]()) + "\n" + block[3], page)


def settings() -> Iterator[str]:
    from serval.settings.reference import describe

    rows = [(f"`{each.environment}`", each.accepts, each.default, each.description) for each in describe()]
    return table(("setting", "takes", "default", "what it does"), rows)


def metrics() -> Iterator[str]:
    return table(
        ("metric", "what it measures"), [(f"`{name}`", f"{text.rstrip('.')}.") for name, text in known_metrics()]
    )


def known_metrics() -> list[tuple[str, str]]:
    """(name, description) of every metric that the sources of both planes register, and of those of the library."""
    from prometheus_client import ProcessCollector

    sources = [*(ROOT / "server").rglob("*.py"), *(ROOT / "native" / "src").rglob("*.rs")]
    texts = [BOUND_TEXT.sub(r"\3\2", source.read_text()) for source in sorted(sources)]
    found = [match for text in texts for match in METRIC.finditer(text)]
    own = [
        (name + ("_total" if is_counter else ""), text)
        for is_counter, name, text in (match.groups() for match in found)
    ]
    common = [
        (each.name + ("_total" if each.type == "counter" else ""), each.documentation)
        for each in ProcessCollector(registry=None).collect()
    ]
    return sorted(own + common)


def routes() -> Iterator[str]:
    rows = [(f"`{method} {path}`", summary) for path, method, summary in known_routes()]
    return table(("route", "what it does"), rows)


def known_routes() -> list[tuple[str, str, str]]:
    """(path, method, summary) of every documented route of the app."""
    from litestar import Router
    from litestar.handlers import HTTPRouteHandler

    from serval.wiring import ROUTES

    routes = Router("/", route_handlers=ROUTES).routes
    handlers = (
        (route.path_format, handler)
        for route in routes
        for handler in route.route_handlers
        if isinstance(handler, HTTPRouteHandler)
    )
    documented = ((path, handler) for path, handler in handlers if handler.resolve_include_in_schema())
    return sorted((path, method, handler.summary) for path, handler in documented for method in handler.http_methods)


def permissions() -> Iterator[str]:
    from serval.auth.permissions import ROUTE_RULES

    rows = [
        (*(f"`{part}`" for part in route.split(" ", 1)), permission.summary)
        for route, permission in ROUTE_RULES.items()
    ]
    return table(("method", "path", "who"), rows)


def commands() -> Iterator[str]:
    """Every command with its help and the options that are its own."""
    for usage, command in known_commands():
        yield from ("", f"### {usage}", "", *wrapped(command.help or ""))
        rows = [
            (option_of(each), (each.help or "").replace("\n", " "))
            for each in command.params
            if isinstance(each, click.Option) and each.name not in SHARED_OPTIONS and not each.hidden
        ]
        if rows:
            yield from ("", *table(("option", "what it does"), rows))
        if len(command.get_params(click.Context(command))) > len(command.params) + 1:
            yield from ("", "Each of [the settings](settings.md) is an option too: `--port` for `SERVAL_PORT`.")


def known_commands() -> Iterator[tuple[str, click.Command]]:
    """(how it is called, command) of every command, in the order of `serval --help`."""
    from serval.commands.cli import cli

    def below(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
        context = click.Context(command)
        if isinstance(command, click.Group):
            for each in command.list_commands(context):
                found = command.get_command(context, each)
                assert found is not None, each  # noqa: S101
                yield from below(f"{name} {each}", found)
        else:
            arguments = [each.make_metavar(context) for each in command.params if isinstance(each, click.Argument)]
            yield " ".join([name, *arguments]), command

    return below("serval", cli)


def option_of(option: click.Option) -> str:
    value = (
        ""
        if option.is_flag
        else f" {option.make_metavar(click.Context(click.Command('serval')))}".removesuffix(" RANGE")
    )
    return ", ".join(f"`{name}{value}`" for name in (*option.opts, *option.secondary_opts))


def wrapped(text: str) -> list[str]:
    """The paragraphs of a help text as lines of the width of this folder."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(textwrap.fill(" ".join(each.split()), 120) for each in paragraphs).splitlines()


def old_versions() -> Iterator[str]:
    from serval.conversion.old_versions.changes import CHANGES

    titles = ("saved before", "estimators", "what changed", "how Serval sees it", "what Serval does")
    rows = [
        (
            ".".join(map(str, change.since)),
            ", ".join(f"`{name}`" for name in change.estimators) or "all",
            *(change.what, change.seen, change.done),
        )
        for change in CHANGES
    ]
    return table(titles, rows)


def refusals() -> Iterator[str]:
    """For each error code a table of the sentences that are raised with it."""
    from serval.conversion.refusals.catalogue import known_kinds

    codes = {kind.error.code if kind.error else "held": None for kind in known_kinds().values()}
    for code in codes:
        kinds = [kind for kind in known_kinds().values() if (kind.error.code if kind.error else "held") == code]
        title = f"[`{code}`](errors.md#{code})" if code != "held" else "A version that is ready, but not live"
        rows = [(shown(kind.problem), shown(kind.way_out), kind.cause) for kind in kinds]
        yield from ("", title, "", *table(("refusal", "way out", "cause"), rows))


def shown(template: str) -> str:
    """A half of a sentence with its placeholders in braces."""
    return template.replace("{{", "{").replace("}}", "}")


def table(titles: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """A Markdown table, line by line."""
    yield line(titles)
    yield "|---" * len(titles) + "|"
    yield from map(line, rows)


def line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


BLOCKS: dict[str, Callable[[], Iterator[str]]] = {
    "settings": settings,
    "metrics": metrics,
    "routes": routes,
    "permissions": permissions,
    "commands": commands,
    "old_versions": old_versions,
    "refusals": refusals,
}

if __name__ == "__main__":
    main()
