"""All kinds of refusals by name, for the documentation and the tests that follow each way out."""

from serval.conversion.refusals import of_files, of_models, of_outcomes, of_steps
from serval.conversion.refusals.kind import Kind


def known_kinds() -> dict[str, Kind]:
    """Each kind by the name of its constant, in the order in which an upload meets them."""
    return {
        name: value
        for module in (of_files, of_models, of_steps, of_outcomes)
        for name, value in vars(module).items()
        if isinstance(value, Kind)
    }
