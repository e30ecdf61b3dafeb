"""The Update Framework: metadata (``tuf.api``) and a client (``tuf.ngclient``)."""

__version__ = "7.1.0"
