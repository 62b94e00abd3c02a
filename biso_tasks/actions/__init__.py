"""What recipe steps name with `uses`, registered as plugins, and the built-in recipes as data."""
