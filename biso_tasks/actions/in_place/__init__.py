"""The documented procedure, where a site cannot stage."""
