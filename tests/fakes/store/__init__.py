"""A store in memory that satisfies `StorePort`; it passes the cases in ``tests/storage`` too."""

from fakes.store.memory import FakeStore, FakeUnitOfWork

__all__ = ["FakeStore", "FakeUnitOfWork"]
