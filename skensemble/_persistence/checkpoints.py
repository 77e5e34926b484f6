"""The file of a fit: written after every cycle, and found by the next fit of the same kind."""

import contextlib
import errno
import functools
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from sklearn.exceptions import ConvergenceWarning

from skensemble._types import Options, PathLike, State
from skensemble._warnings import short, warn
from skensemble.fitted import Fitted
from skensemble.parameters import NetParameters

from .audit import audit, parse
from .container import Fault, sweep
from .fingerprints import fingerprint
from .identity import Identity, identify, tell_apart
from .loading import read_model
from .saving import Begun, begin, new_encoder, prepare_model

#: Seconds after which a file that is half written is thought to be of a process that was killed.
_ABANDONED = 3_600

#: Beginning and end of the names of files.
_PREFIX, _SUFFIX = "snapshots-", ".safetensors"

#: Texts to warn of, and their categories.
Messages = list[tuple[str, type[Warning]]]


class Found(NamedTuple):
    """What an earlier process had come to."""

    path: Path
    #: With the cycles so far.
    fitted: Fitted
    #: Where the run stood; None: it had come to its end.
    stood: Options | None
    #: What a finished fit warned of: the text and the category's name.
    told: list[list[str]]

    def cycles(self, n_before: int) -> list[list[State]]:
        """Return the cycles of the run up to where it stood, after `n_before` of earlier calls."""
        n_cycles = n_before + (0 if self.stood is None else int(self.stood["n_cycles"]))
        return [self.fitted.states(cycle) for cycle in range(n_before, n_cycles)]

    def messages(self) -> Messages:
        """Return what a finished fit warned of."""
        kinds = {kind.__name__: kind for kind in (ConvergenceWarning, RuntimeWarning)}
        return [(text, kinds.get(name, UserWarning)) for text, name in self.told]

    def word(self) -> str:
        """Put in a line what was found."""
        n, is_whole = self.fitted.n_cycles, self.stood is None
        return f"found {self.path}: " + ("a finished fit" if is_whole else f"{n} cycles, going on")


class Checkpoint:
    """The file in `folder` for a fit that is known by its `identity`.

    Fits of different data, parameters or versions have different names, so those of a search that
    runs in many processes never meet. Without a folder nothing is written.
    """

    #: What an earlier process has left.
    found: Found | None = None

    def __init__(self, folder: PathLike | None, identity: Identity, begun: Begun | None = None):
        # A run may go to another folder meanwhile.
        self.folder = None if folder is None else Path(folder).absolute()
        self.identity = identity
        #: What the file says of the estimator as long as the run goes on.
        self._begun = begun
        name = f"{_PREFIX}{fingerprint(identity)}{_SUFFIX}"
        #: Where the file is, or is to be.
        self.path = None if self.folder is None else self.folder / name
        #: Training needs no disk, and goes on while the file is written.
        self._writing: Future[None] | None = None
        #: Digests of the run's snapshots, which do not change any more.
        self._digests: dict[int, bytes] = {}
        #: Tells the file that was last written here from others.
        self._own: tuple[int, int] | None = None

    def open_folder(self) -> None:
        """Make the folder, refuse one that cannot be written to, and sweep it."""
        if self.folder is None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not os.access(self.folder, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, "It cannot be written to")
        except (OSError, ValueError) as error:  # a name may have letters that no path has
            text = f"Got checkpoint_dir={short(str(self.folder))}, but expected a folder that can"
            raise _reworded(error, f"{text} be made and written to: {error}") from error
        sweep(self.folder, older_than=_ABANDONED)

    def find(self, estimator: NetParameters, named: PathLike | None) -> Found | None:
        """Read what an earlier process wrote, by its name or in the folder; None: nothing."""
        if named is not None:
            with _worded(f"resume_from={short(str(named))}, but expected a file of a fit"):
                return self._read_named(estimator, named)
        if self.path is None:
            return None
        try:
            with _worded(f"checkpoint_dir={short(str(self.folder))}, but expected files of fits"):
                return self._read(estimator, self.path)
        except FileNotFoundError:
            return None
        except ValueError as error:
            warn(
                f"Got the file {short(str(self.path))} of this fit, which cannot be read: {error} "
                "The fit begins anew, and replaces it.",
                RuntimeWarning,
            )
            return None

    def write(self, fitted: Fitted, stood: Options) -> None:
        """Write the cycles so far, and where the run stands, while training goes on.

        Raises
        ------
        OSError
            If the file before could not be written.
        """
        self.wait()
        if self._begun is None or self._is_behind(stood):
            return
        nets = [net.of_one_chain() for net in fitted.nets]
        fitted = replace(fitted, nets=nets)
        self._write(self._begun, fitted, {"stood": stood}, digests=self._digests)

    def finish(self, estimator: NetParameters, fitted: Fitted, messages: Messages) -> None:
        """Write what a whole fit leaves, with all that a later call needs to go on."""
        if self.path is None:
            return
        told = [[text, category.__name__] for text, category in messages]
        # Training may have changed an instance that a parameter holds.
        self._write(begin(estimator), fitted, {"messages": told}, include=("training",))
        self.wait()

    def wait(self) -> None:
        """Wait until the file is written.

        Raises
        ------
        OSError
            If it could not be.
        """
        writing, self._writing = self._writing, None
        if writing is not None and self.path is not None:
            writing.result()
            self._own = _mark_of(self.path)

    def _write(
        self,
        begun: Begun,
        fitted: Fitted,
        extra: Options,
        *,
        include: tuple[str, ...] = (),
        digests: dict[int, bytes] | None = None,
    ) -> None:
        self.wait()
        if self.path is not None:
            extra = {"identity": self.identity, **extra}
            model = prepare_model(begun, fitted, include=("unseen", *include), extra=extra)
            writer = ThreadPoolExecutor(max_workers=1)
            self._writing = writer.submit(model.write, self.path, digests)
            writer.shutdown(wait=False)

    def _is_behind(self, stood: Options) -> bool:
        """Tell whether another process that fits the same has come further."""
        if self.path is None or _mark_of(self.path) in (None, self._own):
            return False
        try:
            extra = audit(parse(self.path)).values["training"]
        except (Fault, OSError):
            return False
        there = extra.get("stood")
        return there is None or int(there["n_ended"]) > stood["n_ended"]

    def _read(self, estimator: NetParameters, path: PathLike) -> Found:
        check = functools.partial(self._check_is_of_this_fit, path)
        _, fitted, extra = read_model(path, estimator=estimator, check=check)
        return Found(Path(path), fitted, extra.get("stood"), extra.get("messages", []))

    def _read_named(self, estimator: NetParameters, named: PathLike) -> Found:
        try:
            return self._read(estimator, named)
        except ValueError as error:
            if not str(error).startswith("Got path="):
                raise
            raise ValueError(str(error).replace("path=", "resume_from=", 1)) from error

    def _check_is_of_this_fit(self, path: PathLike, extra: Any) -> None:
        if not isinstance(extra, dict) or "identity" not in extra:
            raise ValueError(
                f"Got resume_from={short(str(path))}, but expected a file that a fit wrote to "
                "checkpoint_dir=: a model that was saved cannot say where its training stood."
            )
        if others := tell_apart(self.identity, extra["identity"]):
            raise ValueError(
                f"Got resume_from={short(str(path))}, but expected a file of the same fit: "
                f"it was written with another {word_list(others)}."
            )


@contextlib.contextmanager
def _worded(what: str) -> Iterator[None]:
    """Say in an error of the system's what was to be read."""
    try:
        yield
    except OSError as error:
        raise _reworded(error, f"Got {what} that can be opened: {error}") from error


def _reworded(error: OSError | ValueError, text: str) -> Exception:
    """Return an error of the same kind and number; those of unicode take more than a text."""
    return type(error)(error.errno, text) if isinstance(error, OSError) else ValueError(text)


def _mark_of(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from those written before and after it; None: there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def open_checkpoint(
    estimator: NetParameters, given: Options, seed: int, before: Fitted | None
) -> Checkpoint:
    """Return the file of a call, and find what an earlier process has left.

    `given` has the arguments of the call by name.
    """
    folder, named = estimator.checkpoint_dir, given.pop("resume_from")
    if folder is None and named is None:
        return Checkpoint(None, {})
    if not isinstance(named, str | os.PathLike | None):
        raise TypeError(f"Got resume_from={short(named)}, but expected the path of a file.")
    if folder is not None and not os.fspath(folder):
        raise ValueError("Got checkpoint_dir='', but expected the path of a folder, such as '.'.")
    # An instance of RandomState draws the same seed again in a process that is started again.
    if before is None and folder is not None and estimator.random_state is None:
        warn(
            "Got random_state=None with checkpoint_dir, but expected an integer: each fit draws a "
            "seed from numpy's global generator, so it finds the file of one before it only where "
            "that generator was set to stand at the same place."
        )
    begun = begin(estimator)
    file = Checkpoint(folder, identify(estimator, given, seed, before), begun)
    file.open_folder()
    file.found = file.find(estimator, named)
    return file


def prune(folder: PathLike, *, unfinished: bool = False) -> Iterator[Path]:
    """Remove the files of finished fits, or of unfinished ones too, and yield their paths.

    Raises
    ------
    NotADirectoryError
        If there is no such folder.
    """
    if not os.fspath(folder) or not Path(folder).is_dir():
        raise NotADirectoryError(
            errno.ENOTDIR, f"Got checkpoint_dir={short(str(folder))}, but expected a folder"
        )
    for path in sorted(Path(folder).glob(f"{_PREFIX}*{_SUFFIX}")):
        try:
            extra = audit(parse(path)).values["training"]
        except (Fault, ValueError, OSError):  # damaged, of others, or gone meanwhile
            continue
        if "identity" in extra and (unfinished or extra.get("stood") is None):
            path.unlink(missing_ok=True)
            yield path
    sweep(folder, older_than=_ABANDONED)


def check_is_kept(stood: Options) -> None:
    """Refuse where a run stands if it holds what no file can keep."""
    new_encoder().encode_named("training", stood)


def word_list(names: list[Any], most: int = 8) -> str:
    """Put names into words, the first of many."""
    shown = ", ".join(map(str, names[:most]))
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
