"""bytes on disk of versions and users, and when versions failed."""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

USERS = sa.table("users", sa.column("id"), sa.column("stored_bytes", sa.BigInteger()))
MODELS = sa.table("models", sa.column("id"), sa.column("owner_id"))
VERSIONS = sa.table(
    "versions",
    sa.column("model_id"),
    sa.column("status"),
    sa.column("source_bytes", sa.BigInteger()),
    sa.column("onnx_bytes", sa.BigInteger()),
    sa.column("stored_bytes", sa.BigInteger()),
    sa.column("failed_at", sa.DateTime(timezone=True)),
)


def _stored_bytes() -> "sa.Column[int]":
    return sa.Column("stored_bytes", sa.BigInteger(), nullable=False, server_default="0")


def upgrade() -> None:
    with op.batch_alter_table("versions") as versions:
        versions.add_column(_stored_bytes())
        versions.add_column(sa.Column("failed_at", sa.DateTime(timezone=True), nullable=True))
    with op.batch_alter_table("users") as users:
        users.add_column(_stored_bytes())
    connection = op.get_bind()
    size = VERSIONS.c.source_bytes + sa.func.coalesce(VERSIONS.c.onnx_bytes, 0)
    connection.execute(sa.update(VERSIONS).values(stored_bytes=size))
    # Their files are kept as long as those of uploads that fail from now on.
    failed = sa.update(VERSIONS).where(VERSIONS.c.status == "failed")
    connection.execute(failed.values(failed_at=datetime.now(UTC)))
    of_user = (
        sa.select(sa.func.coalesce(sa.func.sum(VERSIONS.c.stored_bytes), 0))
        .select_from(sa.join(VERSIONS, MODELS, VERSIONS.c.model_id == MODELS.c.id))
        .where(MODELS.c.owner_id == USERS.c.id)
    )
    connection.execute(sa.update(USERS).values(stored_bytes=of_user.scalar_subquery()))


def downgrade() -> None:
    with op.batch_alter_table("users") as users:
        users.drop_column("stored_bytes")
    with op.batch_alter_table("versions") as versions:
        versions.drop_column("failed_at")
        versions.drop_column("stored_bytes")
