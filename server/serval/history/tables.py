"""The table of predictions that were answered."""

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from serval.db.base import Moment, Table


class Prediction(Table):
    """One answered prediction. Written in bulk, so nothing of it is a foreign key; ids begin with the time, so their
    order is its order."""

    __tablename__ = "predictions"
    __table_args__ = (Index(None, "owner_id", "id"), Index(None, "model_id", "id"), Index(None, "user_id", "id"))

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    created_at: Mapped[Moment]
    owner_id: Mapped[str] = mapped_column(String(40))
    """The owner of the model."""
    user_id: Mapped[str] = mapped_column(String(40))
    """Who asked."""
    model_id: Mapped[str] = mapped_column(String(40))
    version_id: Mapped[str] = mapped_column(String(40))
    version_number: Mapped[int]
    rows: Mapped[int]
    digest: Mapped[str] = mapped_column(String(32))
    """Of the inputs: equal rows have equal digests."""
    inputs: Mapped[str | None] = mapped_column(Text)
    """JSON: the first rows, each a list in the order of the columns; where the setting `history_inputs` asks for
    them."""
    predictions: Mapped[str] = mapped_column(Text)
    """JSON list, of the first rows."""
    probabilities: Mapped[str | None] = mapped_column(Text)
    """JSON list: of each of these predictions."""
    cache: Mapped[str] = mapped_column(String(8))
    latency_ms: Mapped[float]
