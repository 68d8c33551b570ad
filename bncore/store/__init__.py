"""The run directory: writing it, owning it, reading it. No torch."""
