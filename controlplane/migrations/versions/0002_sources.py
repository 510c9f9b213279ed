"""Live sources of usage documents, their fetches, and what they brought."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "sources",
        sa.Column("org", sa.String(), sa.ForeignKey("orgs.id"), primary_key=True),
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("created", sa.String(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("interval_seconds", sa.Integer(), nullable=False),
        sa.Column("tenant", sa.Text()),
        sa.Column("prefix", sa.Text()),
        sa.Column("user", sa.Text()),
        sa.Column("token", sa.Text()),
    )
    op.create_table(
        "fetches",
        sa.Column("org", sa.String(), sa.ForeignKey("orgs.id"), primary_key=True),
        sa.Column("source", sa.String(), primary_key=True),
        sa.Column("ok", sa.Boolean(), primary_key=True),
        sa.Column("started", sa.String(), nullable=False),
        sa.Column("finished", sa.String(), nullable=False),
        sa.Column("documents", sa.Integer(), nullable=False),
        sa.Column("failed", sa.JSON(), nullable=False),
        sa.Column("notes", sa.JSON(), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("fault", sa.String()),
    )
    op.create_table(
        "fetched_documents",
        sa.Column("org", sa.String(), sa.ForeignKey("orgs.id"), primary_key=True),
        sa.Column("source", sa.String(), primary_key=True),
        sa.Column("path", sa.String(), primary_key=True),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("text", sa.LargeBinary(), nullable=False),
    )


def downgrade() -> None:
    for table in ("fetched_documents", "fetches", "sources"):
        op.drop_table(table)
