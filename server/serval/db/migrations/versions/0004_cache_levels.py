"""levels of the cache by model, and the secret that replicas share."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "secrets",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("content", sa.LargeBinary(length=32), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_secrets"),
    )
    with op.batch_alter_table("models") as models:
        models.add_column(sa.Column("cache", sa.String(length=4), nullable=False, server_default="auto"))
        models.add_column(sa.Column("cache_ttl_seconds", sa.Float(), nullable=True))
        models.add_column(sa.Column("cache_l2_ttl_seconds", sa.Float(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("models") as models:
        for column in ("cache", "cache_ttl_seconds", "cache_l2_ttl_seconds"):
            models.drop_column(column)
    op.drop_table("secrets")
