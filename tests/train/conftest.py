"""The images of the tests are made once; one thread, as everywhere where tensors are small."""

from nets.conftest import one_thread
from resume.conftest import cache

__all__ = ["cache", "one_thread"]
