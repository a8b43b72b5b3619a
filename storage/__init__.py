"""Durable state that is not media: the database, its schema and its repositories."""
