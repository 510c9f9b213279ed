"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "orgs",
        sa.Column("id", sa.String(), primary_key=True),
    )
    op.create_table(
        "analyses",
        sa.Column("org", sa.String(), sa.ForeignKey("orgs.id"), primary_key=True),
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("gateway", sa.String()),
        sa.Column("start", sa.String(), nullable=False),
        sa.Column("end", sa.String(), nullable=False),
        sa.Column("created", sa.String(), nullable=False),
        sa.Column("result", sa.JSON()),
        sa.Column("error", sa.Text()),
    )
    op.create_table(
        "deployments",
        sa.Column("org", sa.String(), sa.ForeignKey("orgs.id"), primary_key=True),
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("group_id", sa.String(), nullable=False),
        sa.Column("template", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created", sa.String(), nullable=False),
        sa.Column("finished", sa.String()),
    )
    op.create_table(
        "documents",
        sa.Column("org", sa.String(), sa.ForeignKey("orgs.id"), primary_key=True),
        sa.Column("path", sa.String(), primary_key=True),
        sa.Column("text", sa.Text(), nullable=False),
    )
    op.create_table(
        "gateways",
        sa.Column("org", sa.String(), sa.ForeignKey("orgs.id"), primary_key=True),
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("group_id", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False, unique=True),
    )
    op.create_table(
        "groups",
        sa.Column("org", sa.String(), sa.ForeignKey("orgs.id"), primary_key=True),
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("base_config", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("template", sa.String()),
        sa.Column("version", sa.Integer()),
    )
    op.create_table(
        "price_books",
        sa.Column("org", sa.String(), sa.ForeignKey("orgs.id"), primary_key=True),
        sa.Column("text", sa.Text(), nullable=False),
    )
    op.create_table(
        "reports",
        sa.Column("org", sa.String(), sa.ForeignKey("orgs.id"), primary_key=True),
        sa.Column("gateway", sa.String(), primary_key=True),
        sa.Column("instance_uid", sa.String(), nullable=False),
        sa.Column("connected", sa.Boolean(), nullable=False),
        sa.Column("last_seen", sa.String(), nullable=False),
        sa.Column("agent_version", sa.String()),
        sa.Column("description", sa.JSON()),
        sa.Column("capabilities", sa.Integer()),
        sa.Column("config_hash", sa.LargeBinary()),
        sa.Column("config_status", sa.String()),
        sa.Column("config_error", sa.Text()),
        sa.Column("healthy", sa.Boolean()),
        sa.Column("health_status", sa.String()),
        sa.Column("health_error", sa.Text()),
        sa.Column("started", sa.String()),
        sa.Column("effective_config", sa.Text()),
        sa.Column("components", sa.JSON()),
    )
    op.create_table(
        "savings",
        sa.Column("org", sa.String(), sa.ForeignKey("orgs.id"), primary_key=True),
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("created", sa.String(), nullable=False),
        sa.Column("result", sa.JSON(), nullable=False),
    )
    op.create_table(
        "template_versions",
        sa.Column("org", sa.String(), sa.ForeignKey("orgs.id"), primary_key=True),
        sa.Column("template", sa.String(), primary_key=True),
        sa.Column("version", sa.Integer(), primary_key=True),
        sa.Column("actions", sa.JSON(), nullable=False),
        sa.Column("created", sa.String(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("waiver", sa.String()),
    )
    op.create_table(
        "user_tokens",
        sa.Column("org", sa.String(), sa.ForeignKey("orgs.id"), primary_key=True),
        sa.Column("digest", sa.String(), primary_key=True, unique=True),
    )
    op.create_table(
        "waivers",
        sa.Column("org", sa.String(), sa.ForeignKey("orgs.id"), primary_key=True),
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("signed_by", sa.String(), nullable=False),
        sa.Column("expires", sa.String(), nullable=False),
    )


def downgrade() -> None:
    for table in (
        "waivers",
        "user_tokens",
        "template_versions",
        "savings",
        "reports",
        "price_books",
        "groups",
        "gateways",
        "documents",
        "deployments",
        "analyses",
        "orgs",
    ):
        op.drop_table(table)
