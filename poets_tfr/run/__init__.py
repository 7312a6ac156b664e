"""A run: every stage in order (orchestrator), where it is kept (folders), what came of it (Run)."""
