"""what held a version ends with its promotion: for versions that were promoted before."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

MODELS = sa.table("models", sa.column("id"), sa.column("live"), sa.column("previous"))
VERSIONS = sa.table(
    "versions",
    sa.column("id"),
    sa.column("model_id"),
    sa.column("number"),
    sa.column("held", sa.JSON(none_as_null=True)),
)
AUDIT = sa.table("audit", sa.column("action"), sa.column("subject_id"), sa.column("details", sa.JSON()))


def upgrade() -> None:
    connection = op.get_bind()
    released = {
        (model_id, number)
        for model_id, *numbers in connection.execute(sa.select(MODELS.c.id, MODELS.c.live, MODELS.c.previous))
        for number in numbers
    }
    promotions = sa.select(AUDIT.c.subject_id, AUDIT.c.details).where(AUDIT.c.action == "version.promote")
    released |= {(model_id, details.get("version")) for model_id, details in connection.execute(promotions)}
    held = sa.select(VERSIONS.c.id, VERSIONS.c.model_id, VERSIONS.c.number).where(VERSIONS.c.held.is_not(None))
    for version_id, model_id, number in connection.execute(held).all():
        if (model_id, number) in released:
            connection.execute(sa.update(VERSIONS).where(VERSIONS.c.id == version_id).values(held=sa.null()))


def downgrade() -> None:
    """What held them is not known any more, and nothing needs it."""
