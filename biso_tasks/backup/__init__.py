"""Backup sets on disk: manifest, METADATA, store, checksums, verification, retention."""
