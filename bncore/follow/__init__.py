"""Following runs: one view of a run for listing, watching, showing and reporting. Does not import torch."""
