"""One command for many installations: each a run of its own, side by side, told together."""
