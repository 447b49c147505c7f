"""How tables, original bytes, receipts and shards lie on disk."""
