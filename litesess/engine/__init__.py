"""A crash-safe key-value engine: append-only log, hash-indexed snapshot, group commit."""
