"""The file itself: named arrays and one document, in the format of safetensors.

A file begins with the length of its header. The header is JSON: for each array its type, its shape
and its place, and a few texts under ``__metadata__``. The bytes of the arrays follow.
"""

import contextlib
import errno
import hashlib
import json
import math
import os
import re
import secrets
import shutil
import stat
import sys
import threading
import time
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import save_file

from skensemble._types import Array, Options
from skensemble._warnings import short

#: What the metadata of our files say, and the newest form that this version reads.
FORMAT, FORMAT_VERSION = "skensemble", 1

#: End of the names of folders in which a file is being written. One that is left behind is of a
#: process that was killed.
UNFINISHED = ".skensemble-part"

#: Types of arrays by their names in the header.
TYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    **{f"{kind}{8 * size}": np.dtype(f"<{kind.lower()}{size}") for kind in "IU" for size in (2, 4)},
    **{f"{kind}64": np.dtype(f"<{kind.lower()}8") for kind in "IUF"},
    **{"I8": np.dtype(np.int8), "U8": np.dtype(np.uint8)},
    **{"F16": np.dtype("<f2"), "F32": np.dtype("<f4")},
}

#: No header is longer: so the format says.
_LONGEST_HEADER = 100_000_000

#: A header may have so many values, and one more for so many bytes of the file: a value takes up
#: to a hundred bytes of memory.
_MANY_VALUES, _BYTES_A_VALUE = 100_000, 8

#: First bytes of files that are often taken for ours, and what they are.
_BEGINNINGS = {
    b"\x80": "a pickle",
    b"PK": "a zip archive, as torch.save and skops write it",
    **dict.fromkeys((b"x", b"\x1f\x8b"), "a compressed file, as joblib writes it"),
}

#: Bytes of a digest.
DIGEST_SIZE = 8


class Fault(Exception):
    """What is wrong with a file, in words that follow "Got a file with"."""


class Entry(NamedTuple):
    """Where an array lies in a file."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    #: Of its first byte in the file.
    start: int

    @property
    def nbytes(self) -> int:
        """Number of its bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


def digest_of(parts: Iterable[Any]) -> bytes:
    """Return the digest of some bytes, one part after another."""
    made = hashlib.blake2b(digest_size=DIGEST_SIZE)
    for part in parts:
        made.update(part)
    return made.digest()


def path_of_file(path: object) -> Path:
    """Return what was given as the path of a file.

    Raises
    ------
    TypeError, ValueError
        If it is none.
    IsADirectoryError
        If a folder is there.
    """
    if not isinstance(path, str | bytes | os.PathLike):
        raise TypeError(f"Got path={short(path)}, but expected the path of a file.")
    text = os.fsdecode(path)
    if not _may_be_a_path(text):
        raise ValueError(f"Got path={short(text)}, but expected the path of a file.")
    if os.path.isdir(text):
        raise IsADirectoryError(errno.EISDIR, "Got a folder, but expected a file's name", text)
    return Path(text)


def _may_be_a_path(text: str) -> bool:
    """Tell whether the system takes a text as a path; pathlib takes "" for the folder we are in."""
    try:
        return bool(text) and 0 not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


# -------------------------------------------------------------------------------- writing


def write_container(path: str | os.PathLike[str], arrays: dict[str, Array], texts: Options) -> None:
    """Write arrays and texts, so that at any moment the file is the old one or the new one whole.

    Parameters
    ----------
    path : path-like
        The folder must exist. A file of the name is replaced.
    arrays : dict of ndarray
        Of the types in :data:`TYPES`.
    texts : dict of str
        The metadata.

    Raises
    ------
    OSError
        If the file cannot be written. Nothing is left behind.
    """
    path = path_of_file(path)
    with replacing(path) as unfinished:
        try:
            save_file({name: _plain(a) for name, a in arrays.items()}, unfinished, metadata=texts)
        except SafetensorError as error:
            raise _error_of_system(error, path) from error


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield where to write what is to take the place of a file once it is whole.

    Where the block raises an error, nothing is left behind.
    """
    # In a folder of its own: safetensors writes beside, under a name of its own, before that. Of a
    # name so many letters always leave room for the rest.
    room = path.with_name(f".{path.name[:20]}.{secrets.token_hex(8)}{UNFINISHED}")
    unfinished = room / "model"
    with _naming(path):
        room.mkdir()
    try:
        unfinished.touch()
        mode = unfinished.stat().st_mode  # as files are made here; safetensors' own are private
        yield unfinished
        unfinished.chmod(mode)
        with unfinished.open("rb+") as file:
            os.fsync(file.fileno())
        with _naming(path):
            unfinished.replace(path)
    finally:
        _remove(room)
    _sync_folder(path.parent)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name in an error of the system's the file that the caller knows."""
    try:
        yield
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from error


def _error_of_system(error: SafetensorError, path: Path) -> OSError:
    """Return as Python words it what safetensors could not do with a file."""
    if found := re.search(r"(?:os error|Os { code:) (\d+)", str(error)):  # or so before 0.5
        number = int(found[1])
        return OSError(number, os.strerror(number), str(path))
    return OSError(errno.EIO, str(error), str(path))


def sweep(folder: str | os.PathLike[str], older_than: float = 0.0) -> None:
    """Remove what killed processes left half written in a folder, so many seconds ago.

    Another process may be writing there.
    """
    for path in Path(folder).glob(f".*{UNFINISHED}"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime >= older_than:
                _remove(path)


def _remove(path: Path) -> None:
    """Remove a file, or a folder with what is in it, where it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _plain(array: Array) -> Array:
    """Return an array as it lies in the file."""
    # A contiguous array of no axes comes back with one.
    return np.ascontiguousarray(array).reshape(array.shape)


def _sync_folder(folder: Path) -> None:
    """Make a new name last, where folders can be asked to."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    with contextlib.suppress(OSError):
        number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


# -------------------------------------------------------------------------------- reading


class Container:
    """A file whose header was checked; arrays are read when they are asked for.

    They are read, and not mapped: what was checked is what is used, and a file that shrinks is an
    error and no crash. The file stays the one that was opened, whatever takes its name.

    Attributes
    ----------
    entries : dict of Entry
    texts : dict of str
        The metadata.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = str(path_of_file(path))
        if not stat.S_ISREG(os.stat(self.path).st_mode):  # opening a pipe would wait for a writer
            raise Fault("no content that stays, such as a pipe or a device")
        self._file = os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, self._file)
        self._lock = threading.Lock()
        self.size = os.fstat(self._file).st_size
        header, start = self._read_header()
        self.texts, self.entries = _read_entries(header, start, self.size)

    def _read_header(self) -> tuple[Options, int]:
        if self.size < 8:
            raise Fault("no content" if not self.size else f"{self.size} bytes and no header")
        first = bytes(self.read_bytes(0, 8))
        length = int.from_bytes(first, "little")
        if length > _LONGEST_HEADER:
            kinds = [kind for start, kind in _BEGINNINGS.items() if first.startswith(start)]
            raise Fault(f"the beginning of {kinds[0]}" if kinds else f"no header but {first!r}")
        if length > self.size - 8:
            raise Fault(f"a header of {length} bytes, of which {self.size - 8} are there")
        raw = self.read_bytes(8, length)
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            raise Fault(f"no text in its header: {error}") from error
        del raw  # a header may be most of a file
        return parse_json(text, self.size, "header"), 8 + length

    def read_bytes(self, start: int, n: int) -> bytearray:
        """Read some bytes."""
        buffer = bytearray(n)
        self.read_into(start, memoryview(buffer))
        return buffer

    def read_into(self, start: int, buffer: memoryview) -> None:
        """Fill a buffer of bytes from a place on."""
        done = 0
        while done < len(buffer):
            n = self._read_some(start + done, buffer[done:])
            if n == 0:
                raise Fault("fewer bytes than when it was opened")
            done += n

    def _read_some(self, start: int, buffer: memoryview) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._file, [buffer[: 1 << 30]], start)
        with self._lock:
            os.lseek(self._file, start, os.SEEK_SET)
            part = os.read(self._file, min(len(buffer), 1 << 30))
        buffer[: len(part)] = part
        return len(part)

    def read(self, name: str) -> Array:
        """Read an array whole."""
        entry = self.entries[name]
        array = np.empty(entry.shape, entry.dtype)
        if array.nbytes:
            self.read_into(entry.start, array.reshape(-1).view(np.uint8).data)
        return as_truth(array, name)


def as_truth(array: Array, name: str) -> Array:
    """Refuse truth values that are neither 0 nor 1."""
    if array.dtype == np.bool_ and array.size and array.view(np.uint8).max() > 1:
        raise Fault(f"truth values other than 0 and 1 in {name!r}")
    return array


def parse_json(data: str, size: int, what: str) -> Options:
    """Parse JSON of a file of so many bytes: one object, strictly."""
    n_values = sum(map(data.count, ",[{"))
    if n_values > _MANY_VALUES + size // _BYTES_A_VALUE:
        raise Fault(f"more than {n_values} values in its {what}")
    try:
        found = json.loads(data, object_pairs_hook=_without_copies, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise Fault(f"too deep a nesting in its {what}") from error
    except ValueError as error:
        raise Fault(f"no JSON in its {what}: {error}") from error
    if not isinstance(found, dict):
        raise Fault(f"no object of JSON in its {what}")
    return found


def _without_copies(pairs: list[tuple[str, Any]]) -> Options:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a key stands twice")
    return made


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _read_entries(header: Options, start: int, size: int) -> tuple[Options, dict[str, Entry]]:
    """Check the header against the file: arrays one after another, and nothing between."""
    texts = header.pop("__metadata__", {})
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise Fault("metadata that are no texts")
    entries: dict[str, Entry] = {}
    places = []
    for name, found in header.items():
        entry, first, last = _read_entry(name, found)
        entries[name] = entry._replace(start=start + first)
        places.append((first, last, name))
    end = 0
    for first, last, name in sorted(places):
        if first != end:
            raise Fault(f"a hole or an overlap before the array {short(name)}")
        end = last
    if start + end != size:
        raise Fault(f"{size} bytes where its header speaks of {start + end}")
    return texts, entries


def _read_entry(name: str, found: object) -> tuple[Entry, int, int]:
    if not isinstance(found, dict) or found.keys() != {"dtype", "shape", "data_offsets"}:
        raise Fault(f"no type, shape and place for the array {short(name)}")
    dtype = TYPES.get(found["dtype"]) if isinstance(found["dtype"], str) else None
    if dtype is None:
        raise Fault(f"the unknown type {short(found['dtype'])} of the array {short(name)}")
    shape, place = found["shape"], found["data_offsets"]
    if not _is_sizes(shape) or not _is_sizes(place) or len(place) != 2 or len(shape) > 32:
        raise Fault(f"no shape or place for the array {short(name)}")
    entry = Entry(dtype, tuple(shape), 0)
    if any(n >= 1 << 62 for n in (*shape, *place)) or entry.nbytes != place[1] - place[0]:
        raise Fault(f"a place of the array {short(name)} that its shape does not fill")
    return entry, place[0], place[1]


def _is_sizes(found: object) -> bool:
    return isinstance(found, list) and all(type(n) is int and n >= 0 for n in found)


def lies_as_written(array: Array) -> bool:
    """Tell whether an array may be written as it is."""
    return array.dtype in TYPES.values() and sys.byteorder == "little"


def iter_bytes(array: Array) -> Iterator[NDArray[np.uint8]]:
    """Yield the bytes of an array, for a digest."""
    if array.nbytes:
        yield np.ascontiguousarray(array).reshape(-1).view(np.uint8)
