"""Where code comes from: of a package that is installed, or of the user's own files."""

import functools
import hashlib
import importlib.metadata
import sys
import sysconfig
import types
from pathlib import Path
from typing import Any

#: Packages whose versions are part of what a fit is.
_KNOWN = {"torch", "numpy", "sklearn", "skorch", "skensemble", "builtins"}

#: Packages whose objects hold data and share it by ways of their own.
OF_DATA = {"pandas", "polars", "pyarrow", "scipy", "narwhals"}

#: Packages whose objects are told by what they hold.
READABLE = OF_DATA | (sys.stdlib_module_names - {"__main__"})

_STDLIB = Path(sysconfig.get_path("stdlib"))

#: Folders of packages that are installed.
_INSTALLED = {"site-packages", "dist-packages"}


def package_of(value: Any) -> str:
    """Return the name of the package that a class, a function or a module is of."""
    return module_name(value).partition(".")[0]


def module_name(value: Any) -> str:
    """Return the name of the module that a class or a function is of, or of a module itself.

    The script that is run has another name in processes that it starts.
    """
    if isinstance(value, types.ModuleType):
        name = value.__name__
    else:
        name = str(getattr(value, "__module__", None))
    return "__main__" if name == "__mp_main__" else name


def is_of_library(value: Any) -> bool:
    """Tell whether code is of Python or of an installed package, and no file of the user's."""
    if package_of(value) in _KNOWN | OF_DATA:
        return True
    module = sys.modules.get(module_name(value))
    if module is None or module_name(value) == "__main__":
        return False
    path = _path_of(module)
    if path is None:
        return package_of(value) in sys.stdlib_module_names
    return _is_installed(path)


@functools.cache
def _is_installed(path: Path) -> bool:
    return bool(_INSTALLED & {*path.parts}) or _STDLIB in path.parents


def origin_of(value: Any) -> str:
    """Return what tells the code of a library, or of a module, from another version of it.

    Of what is not known by the versions in an identity that is the package's version and, since
    not every change has a number, the content of the file.
    """
    package = package_of(value)
    if package in _KNOWN | READABLE:
        return ""
    module = sys.modules.get(module_name(value))
    path = None if module is None else _path_of(module)
    source = b"" if path is None or not path.is_file() else path.read_bytes()
    return f"{_version_of(package)} {hashlib.blake2b(source, digest_size=16).hexdigest()}"


def _path_of(module: types.ModuleType) -> Path | None:
    path = getattr(module, "__file__", None)
    return Path(path) if isinstance(path, str) else None


def _version_of(package: str) -> str:
    version = getattr(sys.modules.get(package), "__version__", None)
    if isinstance(version, str):
        return version
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
