"""The settings as options of `serval serve`."""

import click

from serval.commands.setting_options import GROUPS, setting_options
from serval.settings.reference import describe
from serval.settings.settings import Settings


def test_every_setting_is_an_option_in_a_group_with_its_type_and_default() -> None:
    assert set(GROUPS) <= set(Settings.__struct_fields__)
    options = {option.name: option for option in setting_options()}
    assert list(options) == list(Settings.__struct_fields__)
    groups = [option.panel for option in options.values()]
    assert list(dict.fromkeys(groups)) == list(GROUPS.values()), "each group is in one place"
    for setting in describe():
        assert (options[setting.name].help or "").endswith(f" (default: {setting.default})")
    shown = {name: options[name].metavar for name in ("port", "log_level", "front", "api_rate", "max_body_bytes")}
    assert shown == {
        "port": "INTEGER",
        "log_level": "debug|info|warning|error",
        "front": "true|false",
        "api_rate": "RATE",
        "max_body_bytes": "SIZE",
    }


def test_a_default_that_is_shown_does_not_count_as_given() -> None:
    command = click.Command("serve", params=list(setting_options()))
    assert set(command.make_context("serve", []).params.values()) == {None}
