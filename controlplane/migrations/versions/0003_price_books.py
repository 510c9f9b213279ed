"""A price book for each destination, every revision of it; the one there was becomes revision 1 of the destination `default`."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "price_book_revisions",
        sa.Column("org", sa.String(), sa.ForeignKey("orgs.id"), primary_key=True),
        sa.Column("destination", sa.String(), primary_key=True),
        sa.Column("revision", sa.Integer(), primary_key=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("created", sa.String(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
    )
    op.execute(
        "INSERT INTO price_book_revisions SELECT org, 'default', 1, text, strftime('%Y-%m-%dT%H:%M:%S.000000+00:00', 'now'), '' FROM price_books"
    )
    op.drop_table("price_books")


def downgrade() -> None:
    op.create_table(
        "price_books",
        sa.Column("org", sa.String(), sa.ForeignKey("orgs.id"), primary_key=True),
        sa.Column("text", sa.Text(), nullable=False),
    )
    op.execute(
        "INSERT INTO price_books SELECT org, text FROM price_book_revisions AS r WHERE destination = 'default' AND revision ="
        " (SELECT max(revision) FROM price_book_revisions WHERE org = r.org AND destination = 'default')"
    )
    op.drop_table("price_book_revisions")
