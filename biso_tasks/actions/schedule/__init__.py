"""What runs by itself on this machine."""
