"""Closed-form students with a known best exposure."""
