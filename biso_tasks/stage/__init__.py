"""A whole instance beside the live one: build it, swap it in, roll back, discard."""
