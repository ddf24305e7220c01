"""Answers of an endpoint, kept on disk as they come, so that no paid query is ever asked twice."""

import hashlib
import json
import sqlite3
import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onepixel.errors import UndecidedError, UsageError

FORMAT = "onepixel-journal-1"


class Journal:
    """A set of answered images; in a file if there is a path, else for as long as the process lives.

    Parameters
    ----------
    path : Path or None
        A SQLite file, made if it is not there.
    about : dict of str to str
        What the answers belong to: the endpoint, its model's version, what the images went through. A file that was
        begun for something else is refused.

    Raises
    ------
    UsageError
        If the file cannot be made, or belongs to something else.
    UndecidedError
        If it is damaged.
    """

    def __init__(self, path: Path | None, about: dict[str, str]) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(path or ":memory:", check_same_thread=False, isolation_level=None)
            self._file.execute("PRAGMA synchronous = NORMAL")
            self._file.execute("PRAGMA journal_mode = WAL")
            self._file.execute("CREATE TABLE IF NOT EXISTS about (key TEXT PRIMARY KEY, value TEXT)")
            self._file.execute("CREATE TABLE IF NOT EXISTS answers (image BLOB PRIMARY KEY, answer BLOB)")
            begun_for = self._begun_for(about)
        except sqlite3.OperationalError as error:
            raise UsageError(f"Cannot write the journal {path}: {error}.") from error
        except (sqlite3.DatabaseError, ValueError) as error:
            raise UndecidedError(f"{path} is damaged: it is no journal of an endpoint's answers.") from error
        if begun_for != about:
            other = sorted(key for key in about if begun_for.get(key) != about[key])
            raise UsageError(
                f"The journal {path} was begun for another endpoint, model or preparation ({', '.join(other)} differ); "
                "name another --journal, or remove it."
            )

    def _begun_for(self, about: dict[str, str]) -> dict[str, str]:
        """What the file was begun for; a new file is begun for `about`."""
        kept = self.note(FORMAT)
        if kept is None:
            self.keep_note(FORMAT, json.dumps(about))
            return about
        found = json.loads(kept)
        if not isinstance(found, dict):
            raise ValueError("the journal says nothing about itself")
        return found

    def __len__(self) -> int:
        """How many images are answered."""
        with self._lock:
            return int(self._file.execute("SELECT count(*) FROM answers").fetchone()[0])

    def note(self, key: str) -> str | None:
        """A remark that was kept beside the answers."""
        with self._lock:
            row = self._file.execute("SELECT value FROM about WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def keep_note(self, key: str, value: str) -> None:
        """Keep a remark beside the answers."""
        with self._lock:
            self._file.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (key, value))

    def known(self, keys: list[bytes]) -> dict[bytes, NDArray[np.float64]]:
        """The answers of those images that have one."""
        found: dict[bytes, NDArray[np.float64]] = {}
        with self._lock:
            for start in range(0, len(keys), 500):
                some = keys[start : start + 500]
                marks = ",".join("?" * len(some))
                rows = self._file.execute(f"SELECT image, answer FROM answers WHERE image IN ({marks})", some)
                found |= {bytes(image): np.frombuffer(answer, dtype="<f8") for image, answer in rows}
        return found

    def keep(self, keys: list[bytes], answers: NDArray[np.float64]) -> None:
        """Keep the answers (N, K) of N images, all or none."""
        rows = [(key, answer.astype("<f8").tobytes()) for key, answer in zip(keys, answers, strict=True)]
        with self._lock:
            self._file.execute("BEGIN")
            self._file.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?)", rows)
            self._file.execute("COMMIT")

    def close(self) -> None:
        """Close the file; the answers stay."""
        with self._lock:
            self._file.close()

    def remove(self) -> None:
        """Close and delete the file."""
        self.close()
        if self.path is not None:
            for ending in ("", "-wal", "-shm"):
                self.path.with_name(self.path.name + ending).unlink(missing_ok=True)


def image_keys(images: NDArray[np.float32]) -> list[bytes]:
    """One short key per image (N, C, H, W); equal images have equal keys."""
    return [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in np.ascontiguousarray(images)]
