"""What plugins can do: the hooks' specifications, the types they exchange, the plugin manager."""
