"""A store's numbers for Prometheus, in the OpenMetrics text format.

Needs the extra ``litesess[metrics]``.  With ``prometheus_client``'s default registry::

    prometheus_client.REGISTRY.register(StoreCollector(store))

Under a server with several processes each one counts its own commits, syncs, merges and late
writes; sessions and bytes are the store's, the same in all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import TYPE_CHECKING, Final

from litesess.errors import ConfigError

if TYPE_CHECKING:
    from litesess.stores.stats import Stats
    from litesess.stores.wal import WALStore

try:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
    from prometheus_client.openmetrics.exposition import generate_latest
except ImportError as error:
    raise ConfigError(
        "litesess.metrics needs prometheus_client: install litesess[metrics]"
    ) from error

_PREFIX: Final = "litesess_"
#: The metric of each number: its name, whether it only grows, and its description.
_NUMBERS: Final = {
    "live": ("sessions", False, "Sessions that have not expired"),
    "expired": ("expired_sessions", False, "Expired sessions that were not removed yet"),
    "log_bytes": ("log_bytes", False, "Length of the log"),
    "snapshot_bytes": ("snapshot_bytes", False, "Length of the snapshot"),
    "generation": ("generation", False, "How often a log was begun"),
    "is_poisoned": ("poisoned", False, "1 if a sync has failed and nothing is written any more"),
    "commits": ("commits", True, "Writes by this process"),
    "fsyncs": ("fsyncs", True, "Syncs of the log by this process"),
    "merges": ("merges", True, "Writes that were merged with another request's"),
    "discarded": ("discarded_writes", True, "Writes that came when their session was gone"),
    "refused": ("refused_sessions", True, "Sessions that were not stored at max_sessions"),
    "compactions": ("compactions", True, "Compactions by this process"),
    "compacted_at": ("compacted_timestamp_seconds", False, "When this process last compacted"),
    "compaction_seconds": ("compaction_seconds", False, "How long that took"),
}


class StoreCollector:
    """The collector of a store's numbers, for ``prometheus_client``."""

    def __init__(self, store: WALStore, name: str = "sessions") -> None:
        """Count *store*; *name* is the value of the label ``store``, where there are several."""
        self._store = store
        self._name = name

    def collect(self) -> Iterator[Metric]:
        """Yield each number; those that are not known are left out.

        Raises:
            StoreError: the store can't be read.
        """
        stats: Stats = self._store.stats()
        for item in fields(stats):
            value = getattr(stats, item.name)
            if value is None:
                continue
            name, grows, doc = _NUMBERS[item.name]
            family = CounterMetricFamily if grows else GaugeMetricFamily
            metric = family(_PREFIX + name, doc, labels=["store"])
            metric.add_metric([self._name], float(value))
            yield metric


def text(store: WALStore, name: str = "sessions") -> str:
    """Return a store's numbers as OpenMetrics text.

    Source: https://prometheus.io/docs/specs/om/open_metrics_spec/

    Raises:
        StoreError: the store can't be read.
    """
    registry = CollectorRegistry()
    registry.register(StoreCollector(store, name))
    found: bytes = generate_latest(registry)
    return found.decode()
