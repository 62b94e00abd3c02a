"""What a site has said of its columns and files: privacy.toml, its drift, and what plugins say."""
