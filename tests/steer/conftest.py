"""Runs that nothing happened to, as for the resume tests."""

from resume.conftest import undisturbed

__all__ = ["undisturbed"]
