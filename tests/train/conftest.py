"""The images of the tests are made once."""

from resume.conftest import cache

__all__ = ["cache"]
