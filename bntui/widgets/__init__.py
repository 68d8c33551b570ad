"""The explorer's widgets: lists, lines, charts in a grid, the steering bar."""
