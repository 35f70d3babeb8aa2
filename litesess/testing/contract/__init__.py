"""The suite that every store must pass."""

from litesess.testing.contract.ends import EndTests
from litesess.testing.contract.moves import MoveTests
from litesess.testing.contract.values import ValueTests

__all__ = ["StoreContract"]


class StoreContract(ValueTests, MoveTests, EndTests):
    """The suite that every store must pass, as pytest runs it.

    A test module of yours holds all that it needs::

        class TestMyStore(StoreContract):
            def make_store(self, clock):
                return MyStore(clock=clock)

    It also tries the methods that :class:`~litesess.stores.base.Store` has a default for, such as
    ``delete_all``, which a logout calls if a request came with several sessions.
    """
