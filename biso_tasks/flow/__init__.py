"""A DAG runner: recipes as data, plans, runs with undo and journal. Knows nothing of BISO."""
