"""E-mail addresses are confirmed with a code before notices are sent there. No row is lost.

An address to which mail was delivered counts as confirmed for notices, so that no trader loses notices at the upgrade.
It does not count for a password reset, because nobody has shown that the mail was read by the user.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

PROOFS = ("code", "delivery")


def upgrade() -> None:
    """Add the table of codes and the proof of each address."""
    op.create_table(
        "mail_codes",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("channel_id", sa.Text(), nullable=False),
        sa.Column("recipient_hash", sa.Text(), nullable=False),
        sa.Column("code_hash", sa.Text(), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("wrong_codes", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_mail_codes_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mail_codes")),
    )
    for column in ("user_id", "channel_id", "recipient_hash"):
        op.create_index(op.f(f"ix_mail_codes_{column}"), "mail_codes", [column])
    with op.batch_alter_table("channels") as batch:
        batch.add_column(sa.Column("proof", sa.String(32), nullable=True))
        batch.create_check_constraint("proof", sa.column("proof", sa.Text).in_(PROOFS))
    op.execute(
        sa.text(
            "UPDATE channels SET proof = 'delivery' WHERE kind = 'email' AND last_sent_at IS NOT NULL"
        )
    )
