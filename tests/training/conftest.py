"""Fixtures of several files: one server serves them all."""

from tests.training.s3_server import bucket, s3_server

__all__ = ["bucket", "s3_server"]
