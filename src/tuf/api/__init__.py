"""Bytes to typed metadata and back: see :mod:`tuf.api.metadata`."""
