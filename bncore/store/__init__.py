"""The run directory: writing, owning and reading it. Does not import torch."""
