"""For tests: a clock that stands still, sessions to look into, the suite for stores."""

from typing import TYPE_CHECKING

from litesess.lazy import names

if TYPE_CHECKING:
    from litesess.testing.clock import FakeClock
    from litesess.testing.contract import StoreContract
    from litesess.testing.web import SessionTestApp, edit_session

__all__ = ["FakeClock", "SessionTestApp", "StoreContract", "edit_session"]

# pytest imports this package in every run where litesess is installed, for its plugin.
__getattr__ = names(
    __name__,
    {
        "FakeClock": f"{__name__}.clock",
        "SessionTestApp": f"{__name__}.web",
        "StoreContract": f"{__name__}.contract",
        "edit_session": f"{__name__}.web",
    },
)
