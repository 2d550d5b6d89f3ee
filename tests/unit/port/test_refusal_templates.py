"""The refusals that the front may send by itself."""

import json

import pytest

from serval.port.refusal_templates import refusal_templates
from serval.settings.settings import Settings


@pytest.mark.parametrize(("root_path", "before"), [(None, ""), ("/serval", "/serval")])
def test_the_type_of_a_refusal_has_the_prefix_of_all_addresses(root_path: str | None, before: str) -> None:
    templates, _ = refusal_templates(Settings(root_path=root_path))
    problems = [json.loads(body) for _, _, _, body in templates]
    assert [each["type"] for each in problems] == [f"{before}/docs/errors#{each['code']}" for each in problems]
    assert len(problems) > 5
