"""A surrogate fitted to a recorded sweep."""
