"""The explorer's parts: lists, lines, charts in a grid, the steering bar."""
