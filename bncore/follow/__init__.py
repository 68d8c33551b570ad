"""Following runs: one view of a run, for whoever lists, watches, shows or reports it. No torch."""
