"""A store in memory that satisfies `StorePort`; passes the same cases as the databases in ``tests/storage/test_store_contract.py``.

A module per subject holds its repositories; ``tables`` is what they all work on, ``memory`` the store that hands out units of work.
"""

from fakes.store.memory import FakeStore, FakeUnitOfWork

__all__ = ["FakeStore", "FakeUnitOfWork"]
