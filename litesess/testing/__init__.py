"""For tests: a clock that stands still, sessions to look into, the suite for stores."""

from litesess.testing.clock import FakeClock
from litesess.testing.contract import StoreContract
from litesess.testing.web import SessionTestApp, edit_session

__all__ = ["FakeClock", "SessionTestApp", "StoreContract", "edit_session"]
