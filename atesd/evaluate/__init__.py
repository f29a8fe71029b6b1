"""A model on a benchmark."""
