"""an index for entries of the audit trail by the name of their resource."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_audit_subject_id", "audit", ["subject", "id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_audit_subject_id", "audit")
