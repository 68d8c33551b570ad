"""Measurements of the explorer as a process in a real pseudo-terminal."""
