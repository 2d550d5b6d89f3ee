"""Paths of the server's routes."""

from urllib.parse import quote


def predict_path(model: str) -> str:
    """Of a prediction; a model of another user is `owner/name`."""
    return f"/api/v1/predict/{'/'.join(segment(part) for part in model.split('/', 1))}"


def model_path(model: str) -> str:
    return f"/api/v1/models/{segment(model)}"


def version_path(model: str, number: int) -> str:
    return f"{model_path(model)}/versions/{number}"


def segment(text: str) -> str:
    """A part of a path between two slashes. Raises ValueError for text that would name another path."""
    if text in {"", ".", ".."}:
        raise ValueError(f"`{text}` is no name of a model")
    return quote(text, safe="")
