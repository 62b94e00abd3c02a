"""A stage made of a live instance."""
