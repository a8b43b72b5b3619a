"""The tables as the code reads them; `storage.migrations` is what creates them.

Times are integers: milliseconds since 1970, UTC. JSON is kept as text, so that every database
gives back the very characters that were put in.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

streams = Table(
    "streams",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("key_digest", String(64), nullable=False, unique=True),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("backup_key_digest", String(64), nullable=True),
    Index("uq_streams_backup_key_digest", "backup_key_digest", unique=True),
)

restream_targets = Table(
    "restream_targets",
    metadata,
    Column("stream", String(64), primary_key=True),
    Column("name", String(32), primary_key=True),
    Column("url", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("codecs", Text, nullable=False),
    Column("source", String(32), nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("role", String(16), nullable=False),
    Column("stream", String(64), nullable=True),
    Column("created_at_ms", BigInteger, nullable=False),
    CheckConstraint("role IN ('producer', 'admin')", name="ck_tokens_role"),
)

cue_log = Table(
    "cue_log",
    metadata,
    Column("stream", String(64), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("id", String(40), nullable=False),
    Column("rev", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("type", String(16), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("effective_ms", BigInteger, nullable=False),
    Column("end_ms", BigInteger, nullable=True),
    Column("planned_end_ms", BigInteger, nullable=True),
    Column("data", Text, nullable=False),
    Column("issued_at_ms", BigInteger, nullable=False),
    UniqueConstraint("stream", "id", "rev", name="uq_cue_log_revision"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("stream", String(64), primary_key=True),
    Column("key", String(200), primary_key=True),
    Column("body_digest", String(64), nullable=False),
    Column("answer", Text, nullable=False),
    Column("issued_at_ms", BigInteger, nullable=False),
)

products = Table(
    "products",
    metadata,
    Column("sku", String(64), primary_key=True),
    Column("title", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("image", Text, nullable=True),
    Column("url", Text, nullable=True),
    Column("updated_at_ms", BigInteger, nullable=False),
)
