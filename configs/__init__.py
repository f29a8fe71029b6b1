"""Presets that select and override; no value is defined here first."""
