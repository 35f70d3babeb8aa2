"""The session stores of other packages, each through the package's own interface."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.peers import LIFE, PATIENCE, Data, Item, Peer, batches, decode, encode


class DiskCache(Peer):
    """diskcache.Cache."""

    def __init__(self, path: Path) -> None:
        # With more bytes than size_limit, it would delete its least recently stored values.
        make = import_module("diskcache").Cache
        self._cache: Any = make(str(path), size_limit=1 << 36, timeout=PATIENCE)

    def set(self, key: str, data: Data) -> None:
        """Store all values of a session."""
        assert self._cache.set(key, encode(data), expire=LIFE)

    def get(self, key: str) -> Data:
        """Return the values of a session that is there."""
        return decode(self._cache[key])

    def update(self, key: str, changes: Data) -> None:
        """Merge values into a session that is there, in a transaction."""
        with self._cache.transact():
            super().update(key, changes)

    def touch(self, key: str) -> None:
        """Let a session that is there live on."""
        assert self._cache.touch(key, expire=LIFE)

    def delete(self, key: str) -> None:
        """Delete a session that is there."""
        del self._cache[key]

    def fill(self, new: Iterable[Item]) -> None:
        """Store sessions, many in one transaction."""
        for batch in batches(new):
            with self._cache.transact():
                super().fill(batch)

    def leave(self) -> None:
        """Close this thread's connection."""
        self._cache.close()

    def close(self) -> None:
        """Close this thread's connection; the other threads have closed theirs."""
        self._cache.close()


class CacheLib(Peer):
    """A file of cachelib's for each session; a threshold would evict sessions, so it has none."""

    def __init__(self, path: Path) -> None:
        make = import_module("cachelib").FileSystemCache
        self._cache: Any = make(str(path), threshold=0, default_timeout=LIFE)

    def set(self, key: str, data: Data) -> None:
        """Store all values of a session."""
        assert self._cache.set(key, data)

    def get(self, key: str) -> Data:
        """Return the values of a session that is there."""
        data: Data = self._cache.get(key)
        assert data is not None
        return data

    def delete(self, key: str) -> None:
        """Delete a session that is there."""
        assert self._cache.delete(key)


class Beaker(Peer):
    """A file of Beaker's for each session, and one to lock it."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._make: Any = import_module("beaker.session").Session

    def _session(self, key: str) -> Any:
        return self._make(
            {}, id=key, use_cookies=False, type="file", data_dir=self._path, timeout=LIFE,
            data_serializer="json",
        )  # fmt: skip

    def set(self, key: str, data: Data) -> None:
        """Read a session and store all its values."""
        self.update(key, data)

    def get(self, key: str) -> Data:
        """Return the values of a session that is there."""
        found = self._session(key)
        assert not found.is_new
        return {name: found[name] for name in found if not name.startswith("_")}

    def update(self, key: str, changes: Data) -> None:
        """Read a session, change values and store all of them."""
        found = self._session(key)
        found.update(changes)
        found.save()

    def touch(self, key: str) -> None:
        """Let a session that is there live on."""
        self._session(key).save(accessed_only=True)

    def delete(self, key: str) -> None:
        """Delete a session that is there."""
        self._session(key).delete()


class Django(Peer):
    """One of Django's session backends."""

    #: Digits that its keys have.
    _KEY_DIGITS = 32

    def __init__(self, path: Path, backend: str) -> None:
        configure_django(path)
        module = import_module(f"django.contrib.sessions.backends.{backend}")
        # A class of our own: the file backend keeps its first directory in its class.
        self._make: Any = type("SessionStore", (module.SessionStore,), {"_storage_path": str(path)})
        self._connections = import_module("django.db").connections

    def _session(self, key: str) -> Any:
        return self._make(key[: self._KEY_DIGITS])

    def _filled(self, key: str, data: Data) -> Any:
        found = self._session(key)
        found.clear()  # reads nothing
        found.update(data)
        return found

    def create(self, key: str, data: Data) -> None:
        """Store a new session."""
        self._filled(key, data).save(must_create=True)

    def set(self, key: str, data: Data) -> None:
        """Store all values of a session that is there."""
        self._filled(key, data).save()

    def get(self, key: str) -> Data:
        """Return the values of a session that is there."""
        data: Data = self._session(key).load()
        assert data
        return data

    def update(self, key: str, changes: Data) -> None:
        """Read a session, change values and store all of them."""
        found = self._session(key)
        found.update(changes)
        found.save()

    def touch(self, key: str) -> None:
        """Let a session that is there live on."""
        self.update(key, {})

    def delete(self, key: str) -> None:
        """Delete a session that is there."""
        self._session(key).delete()

    def leave(self) -> None:
        """Close this thread's connections."""
        self._connections.close_all()

    def close(self) -> None:
        """Close this thread's connections; the other threads have closed theirs."""
        self.leave()


class DjangoDatabase(Django):
    """Django's sessions in SQLite."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "db")
        self._model: Any = self._make.get_model_class()
        import_module("django.core.management").call_command("migrate", verbosity=0)

    def fill(self, new: Iterable[Item]) -> None:
        """Store new sessions, many in one transaction."""
        for batch in batches(new):
            self._model.objects.bulk_create(
                [self._filled(key, data).create_model_instance(data) for key, data in batch]
            )


def configure_django(path: Path) -> None:
    """Configure Django for both backends, with their files in *path*.

    Raises:
        RuntimeError: it is configured already, and a process can configure it only once.
    """
    conf = import_module("django.conf")
    database = path / "sessions.sqlite"
    if not conf.settings.configured:
        path.mkdir(exist_ok=True)
        conf.settings.configure(
            SECRET_KEY="benchmark" * 5,
            INSTALLED_APPS=["django.contrib.sessions"],
            USE_TZ=True,
            SESSION_COOKIE_AGE=LIFE,
            SESSION_FILE_PATH=str(path),
            DATABASES={
                "default": {
                    "ENGINE": "django.db.backends.sqlite3",
                    "NAME": str(database),
                    "OPTIONS": {
                        "transaction_mode": "IMMEDIATE",
                        "timeout": PATIENCE,
                        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL",
                    },
                }
            },
        )
        import_module("django").setup()
    elif Path(conf.settings.SESSION_FILE_PATH or ".") != path:
        raise RuntimeError("Django is configured already; measure the stores by themselves")


def forget_django() -> None:
    """Undo the configuration of Django, so that other peers can configure it in this process."""
    conf, connections = import_module("django.conf"), import_module("django.db").connections
    if conf.settings.configured:
        connections.close_all()
        # Django has no public way to do so.
        vars(connections).clear()
        connections.__init__()
        conf.settings._wrapped = conf.empty  # noqa: SLF001  # Django has no other way back
