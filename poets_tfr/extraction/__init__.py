"""Features: what the cache lacks is computed from records (extract); live ones (live)."""
