"""The fixtures of the resume tests: runs that nothing happened to, and a cache of their own."""

from resume.conftest import cache, undisturbed

__all__ = ["cache", "undisturbed"]
