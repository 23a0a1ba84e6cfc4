"""The tables of the graph."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, MetaData, SmallInteger, Table, Text
from sqlalchemy.dialects import postgresql

metadata = MetaData()
# Compared byte by byte, as SQLite does: faster, and a range of names is the same everywhere.
Name = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")

nodes = Table(
    "lineage_nodes",
    metadata,
    Column("id", Name, primary_key=True),
    Column("kind", Name, nullable=False),
    Column("name", Name, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("digest", Name, nullable=False),
    Column("label", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),  # 0: only mentioned
    Column("committed_at", Text, nullable=False),
    Column("summary", Text, nullable=False),
    Column("figures", Text, nullable=False),  # JSON, as it goes out
    Column("run", Text, nullable=False),  # JSON: the run that made it, in short; "null" if none
    Column("details", Text, nullable=False),  # JSON
    Column("layer", SmallInteger, nullable=False),
    Column("fold", Name, nullable=False),  # the fold it stands behind, or ""
    Index("lineage_nodes_by_name", "name", "kind", "version"),
    Index("lineage_nodes_by_sequence", "sequence"),
    Index("lineage_nodes_by_kind", "kind", "layer", "sequence"),
    Index("lineage_nodes_by_digest", "digest"),
)
edges = Table(
    "lineage_edges",
    metadata,
    Column("source", Name, primary_key=True),
    Column("target", Name, primary_key=True),
    Column("role", Name, primary_key=True),
    Column("layer", SmallInteger, nullable=False),
    Index("lineage_edges_by_target", "target", "layer", "source"),
)
commits = Table(
    "lineage_commits",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("subject", Text, nullable=False),
    Column("node", Name, nullable=False),
    Column("kind", Name, nullable=False),
    Column("name", Name, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("run", Name, nullable=False),  # the run node's id, "" if none
    Column("run_kind", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("committed_at", Text, nullable=False),
    Column("summary", Text, nullable=False),
    Index("lineage_commits_by_run", "run"),
)
