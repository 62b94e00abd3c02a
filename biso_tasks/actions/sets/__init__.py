"""Backup sets: made, verified, kept, and made something of."""
