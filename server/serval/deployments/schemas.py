"""What the routes of releases take."""

import msgspec


class Promotion(msgspec.Struct, forbid_unknown_fields=True):
    """How a version goes live by hand."""

    allow_schema_change: bool = False
