"""Addresses of models and versions, as the caller of a request can use them."""

from typing import NamedTuple

from serval.models.queries import full_name
from serval.models.tables import Version


class Links(NamedTuple):
    """Makes URLs for one caller."""

    base_url: str
    user_id: str

    def version(self, version: Version) -> str:
        """Return where a version is shown."""
        return f"{self.base_url}/api/v1/models/{version.model_id}/versions/{version.number}"

    def test(self, version: Version) -> str:
        """Return where those who manage a version can ask it, also while it is held."""
        return f"{self.base_url}/api/v1/models/{version.model_id}/test?version={version.number}"

    def predict(self, version: Version) -> str:
        """Return where a version predicts."""
        model = version.model
        name = model.name if model.owner_id == self.user_id else full_name(model)
        url = f"{self.base_url}/api/v1/predict/{name}"
        return url if model.live == version.number else f"{url}?version={version.number}"
