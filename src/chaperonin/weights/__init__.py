"""Checkpoint files and the names in them, for any model."""
