"""A store in memory that satisfies `StorePort`. It passes the same cases in ``tests/storage`` as the databases."""

from fakes.store.memory import FakeStore, FakeUnitOfWork

__all__ = ["FakeStore", "FakeUnitOfWork"]
