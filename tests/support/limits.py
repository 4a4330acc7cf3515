"""Temporary limits of the system on this process."""

import resource
from contextlib import contextmanager


@contextmanager
def largest_file(size):
    """Limit each file to ``size`` bytes within the block, so that writing fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
