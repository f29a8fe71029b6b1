"""All controllers against all surrogate families."""
