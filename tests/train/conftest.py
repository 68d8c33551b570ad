"""One thread, as everywhere where tensors are small."""

from nets.conftest import one_thread

__all__ = ["one_thread"]
