"""The repository: makes, signs and publishes metadata (6)."""

from tuf.repository._abstract import AbortEdit, Repository

__all__ = ["AbortEdit", "Repository"]
