"""accounts, logins, what keys are for, shares and the audit trail."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
MOMENT = sa.DateTime(timezone=True)
EVERYBODY = sa.text("user_id IS NULL")
ALL_SCOPES = '["predict", "models:read", "models:write", "admin"]'


def upgrade() -> None:
    with op.batch_alter_table("users") as users:
        users.add_column(sa.Column("email", sa.String(length=254), nullable=True))
        users.add_column(sa.Column("full_name", sa.String(length=100), nullable=False, server_default=""))
        users.add_column(sa.Column("subscription_tier", sa.String(length=40), nullable=False, server_default="default"))
        users.add_column(sa.Column("password_hash", sa.Text(), nullable=True))
        users.add_column(sa.Column("last_login_at", MOMENT, nullable=True))
        users.add_column(sa.Column("disabled_at", MOMENT, nullable=True))
    op.create_index("ix_users_email", "users", ["email"], unique=True)
    with op.batch_alter_table("api_keys") as keys:
        # Keys made before there were scopes go on opening what they opened.
        keys.add_column(sa.Column("scopes", JSON, nullable=False, server_default=sa.text(f"'{ALL_SCOPES}'")))
        keys.add_column(sa.Column("models", JSON, nullable=True))
        keys.add_column(sa.Column("predict_rate", sa.String(length=20), nullable=True))
        keys.add_column(sa.Column("monthly_quota", sa.BigInteger(), nullable=True))
        keys.add_column(sa.Column("last_used_at", MOMENT, nullable=True))
        keys.add_column(sa.Column("replaced_by", sa.String(length=40), nullable=True))
    op.drop_index("ix_api_keys_user_id", table_name="api_keys")
    op.create_index("ix_api_keys_user_id_id", "api_keys", ["user_id", "id"], unique=False)
    op.create_table(
        "key_usage",
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("month", sa.String(length=7), nullable=False),
        sa.Column("predictions", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", "month", name="pk_key_usage"),
    )
    create_sessions()
    create_shares()
    op.create_index("ix_predictions_user_id_id", "predictions", ["user_id", "id"], unique=False)
    create_audit()


def create_sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("user_id", sa.String(length=40), nullable=False),
        sa.Column("address", sa.String(length=45), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_sessions_user_id"),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
    )
    op.create_index("ix_sessions_user_id", "sessions", ["user_id"], unique=False)
    op.create_table(
        "refresh_tokens",
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("session_id", sa.String(length=40), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("used_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], name="fk_refresh_tokens_session_id"),
        sa.PrimaryKeyConstraint("digest", name="pk_refresh_tokens"),
    )
    op.create_index("ix_refresh_tokens_session_id", "refresh_tokens", ["session_id"], unique=False)
    op.create_table(
        "signing_keys",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("secret", sa.LargeBinary(length=32), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_signing_keys"),
    )


def create_shares() -> None:
    op.create_table(
        "shares",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("model_id", sa.String(length=40), nullable=False),
        sa.Column("user_id", sa.String(length=40), nullable=True),
        sa.Column("permission", sa.String(length=10), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_shares_model_id"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_shares_user_id"),
        sa.PrimaryKeyConstraint("id", name="pk_shares"),
        sa.UniqueConstraint("model_id", "user_id", name="uq_shares_model_id_user_id"),
    )
    op.create_index(
        "uq_shares_model_id_everybody",
        "shares",
        ["model_id"],
        unique=True,
        sqlite_where=EVERYBODY,
        postgresql_where=EVERYBODY,
    )
    op.create_index("ix_shares_user_id", "shares", ["user_id"], unique=False)


def create_audit() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("actor_id", sa.String(length=40), nullable=True),
        sa.Column("actor", sa.String(length=254), nullable=False),
        sa.Column("credential_id", sa.String(length=40), nullable=True),
        sa.Column("action", sa.String(length=40), nullable=False),
        sa.Column("subject_id", sa.String(length=40), nullable=True),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("owner_id", sa.String(length=40), nullable=True),
        sa.Column("outcome", sa.String(length=10), nullable=False),
        sa.Column("address", sa.String(length=45), nullable=False),
        sa.Column("request_id", sa.String(length=128), nullable=False),
        sa.Column("details", JSON, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
    for column in ("owner_id", "actor_id", "actor", "subject_id"):
        op.create_index(f"ix_audit_{column}_id", "audit", [column, "id"], unique=False)
    op.create_index("ix_audit_action_outcome_id", "audit", ["action", "outcome", "id"], unique=False)
    for statement in APPEND_ONLY[op.get_bind().dialect.name]:
        op.execute(statement)


APPEND_ONLY = {
    "sqlite": [
        """CREATE TRIGGER audit_is_append_only BEFORE UPDATE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END""",
    ],
    "postgresql": [
        """CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'the audit trail is append-only'; END $$""",
        """CREATE TRIGGER audit_is_append_only BEFORE UPDATE ON audit
        FOR EACH ROW EXECUTE FUNCTION audit_is_append_only()""",
    ],
}
"""Rows may be deleted when their time is over, never changed."""


def downgrade() -> None:
    op.drop_index("ix_predictions_user_id_id", table_name="predictions")
    op.drop_table("audit")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION audit_is_append_only")
    for table in ("shares", "signing_keys", "refresh_tokens", "sessions", "key_usage"):
        op.drop_table(table)
    op.drop_index("ix_api_keys_user_id_id", table_name="api_keys")
    op.create_index("ix_api_keys_user_id", "api_keys", ["user_id"], unique=False)
    with op.batch_alter_table("api_keys") as keys:
        for column in ("scopes", "models", "predict_rate", "monthly_quota", "last_used_at", "replaced_by"):
            keys.drop_column(column)
    op.drop_index("ix_users_email", table_name="users")
    with op.batch_alter_table("users") as users:
        for column in ("email", "full_name", "subscription_tier", "password_hash", "last_login_at", "disabled_at"):
            users.drop_column(column)
