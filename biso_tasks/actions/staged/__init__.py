"""Steps that any stage goes through, wherever its content comes from."""
