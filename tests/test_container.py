"""The file: safetensors, written whole or not at all, and read strictly."""

import errno
import io
import json
import os
import pickle
import re
import struct
import subprocess
import sys
import tracemalloc
import zlib

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from skensemble._persistence import container
from skensemble._persistence.container import (
    UNFINISHED,
    Container,
    Fault,
    as_truth,
    digest_of,
    iter_bytes,
    parse_json,
    sweep,
    write_container,
)

ARRAYS = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.array([True, False]),
    "c": np.array(3),
    "d": np.zeros((0, 4), dtype=np.uint8),
    "e": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
}


def test_what_is_written_is_a_file_of_safetensors(tmp_path):
    write_container(tmp_path / "x", ARRAYS, {"format": "f", "text": 'ü "'})
    found = load_file(tmp_path / "x")
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)
    with safe_open(tmp_path / "x", "numpy") as file:
        assert file.metadata() == {"format": "f", "text": 'ü "'}


def test_what_safetensors_writes_is_read(tmp_path):
    arrays = {f"x{dtype}": np.arange(4).astype(dtype) for dtype in container.TYPES.values()}
    save_file(arrays, tmp_path / "x", metadata={"one": "two"})
    file = Container(tmp_path / "x")
    assert file.texts == {"one": "two"}
    assert file.entries.keys() == arrays.keys()
    for name, array in arrays.items():
        assert file.read(name).dtype == array.dtype
        assert np.array_equal(file.read(name), array)


def test_arrays_are_not_read_before_they_are_asked_for(tmp_path):
    write_container(tmp_path / "x", {"large": np.zeros(1 << 23), "small": np.ones(2)}, {})
    tracemalloc.start()
    file = Container(tmp_path / "x")
    assert file.read("small").tolist() == [1, 1]
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_an_open_file_stays_what_it_was(tmp_path):
    write_container(tmp_path / "x", {"a": np.ones(3)}, {})
    file = Container(tmp_path / "x")
    write_container(tmp_path / "x", {"a": np.zeros(3)}, {})
    assert file.read("a").tolist() == [1, 1, 1]
    assert Container(tmp_path / "x").read("a").tolist() == [0, 0, 0]


def test_a_file_that_shrinks_is_an_error_and_no_crash(tmp_path):
    write_container(tmp_path / "x", {"a": np.ones(10_000)}, {})
    file = Container(tmp_path / "x")
    os.truncate(tmp_path / "x", 5_000)
    with pytest.raises(Fault, match="fewer bytes"):
        file.read("a")


@pytest.mark.parametrize("step", ["save_file", "fsync", "replace"])
def test_what_fails_half_way_leaves_the_old_file(step, tmp_path, monkeypatch):
    write_container(tmp_path / "x", {"a": np.ones(3)}, {})

    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    if step == "replace":
        monkeypatch.setattr(container.Path, "replace", fail)
    else:
        monkeypatch.setattr(container.os if step == "fsync" else container, step, fail)
    with pytest.raises(OSError, match="No space"):
        write_container(tmp_path / "x", {"a": np.zeros(3)}, {})
    monkeypatch.undo()
    assert Container(tmp_path / "x").read("a").tolist() == [1, 1, 1]
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_interrupted_while_writing(tmp_path, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(container.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_container(tmp_path / "x", {"a": np.zeros(3)}, {})
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere.x'"):
        write_container(tmp_path / "nowhere" / "x", {"a": np.ones(3)}, {})
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write_container(tmp_path / "folder", {"a": np.ones(3)}, {})


@pytest.mark.skipif(os.name != "posix", reason="needs its limits")
def test_what_safetensors_cannot_write_has_its_number(tmp_path):
    """The words are those of Python, whose callers look for the number."""
    import resource

    path = tmp_path / "x"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OSError, match="too large") as told:
            write_container(path, {"a": np.ones(100_000)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (told.value.errno, told.value.filename) == (errno.EFBIG, str(path))
    assert not list(tmp_path.iterdir())


def test_names_may_be_as_long_as_the_system_takes_them(tmp_path):
    """The folder beside, whose name is longer, has fewer letters of it."""
    path = tmp_path / ("é" * 127)  # 254 bytes of 255
    write_container(path, {"a": np.ones(3)}, {})
    assert Container(path).read("a").tolist() == [1, 1, 1]
    long = str(tmp_path / ("x" * 300))
    with pytest.raises(OSError, match="too long") as told:
        write_container(long, {"a": np.ones(3)}, {})
    assert told.value.filename == long
    assert list(tmp_path.iterdir()) == [path]


def test_leftovers_are_swept(tmp_path):
    (tmp_path / f".x.0123{UNFINISHED}").mkdir()
    (tmp_path / f".x.0123{UNFINISHED}" / ".tmpABC").write_bytes(b"half")
    (tmp_path / f".x.0124{UNFINISHED}").write_bytes(b"half")
    (tmp_path / "model").write_bytes(b"whole")
    sweep(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def with_header(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype="F32", shape=(1,), start=0, end=4):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


def zipped():
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(3)}, buffer)
    return buffer.getvalue()


FAULTS = {
    "nothing": (b"", "no content"),
    "a few bytes": (b"abc", "3 bytes and no header"),
    "a long header": (struct.pack("<Q", 99) + b"{}", "99 bytes, of which 2 are there"),
    "a text": (b"hello world", "no header but b'hello wo'"),
    "a pickle": (pickle.dumps("a" * 99), "the beginning of a pickle"),
    "a zip archive": (zipped(), "the beginning of a zip archive"),
    "a compressed file": (zlib.compress(b"a" * 99), "the beginning of a compressed file"),
    "no json": (with_header(b"{'a': 1}"), "no JSON"),
    "no text": (with_header(b'{"\xff": 1}'), "no text"),
    "a list": (with_header(b"[]"), "no object"),
    "twice": (with_header(b'{"a": 1, "a": 2}'), "stands twice"),
    "twice within": (with_header(b'{"a": {"dtype": "F32", "dtype": "F32"}}'), "stands twice"),
    "a constant": (with_header(b'{"a": NaN}'), "no number"),
    "deep": (with_header(b"[" * 50_000), "too deep"),
    "wide": (with_header(b"[" + b"[]," * 200_000 + b"[]]"), "values in its header"),
    "a number without end": (with_header(b'{"a": ' + b"9" * 5000 + b"}"), "no JSON"),
    "a gap": (with_header({"a": entry(start=4, end=8)}, bytes(8)), "hole or an overlap"),
    "an overlap": (with_header({"a": entry(), "b": entry()}, bytes(4)), "hole or an overlap"),
    "backwards": (with_header({"a": entry(start=4, end=0)}, bytes(4)), "does not fill"),
    "too short": (with_header({"a": entry()}, bytes(3)), "speaks of"),
    "too long": (with_header({"a": entry()}, bytes(5)), "speaks of"),
    "a large shape": (with_header({"a": entry(shape=[1 << 61, 8])}, bytes(4)), "does not fill"),
    "a negative shape": (with_header({"a": entry(shape=[-1])}, bytes(4)), "no shape"),
    "a shape of truths": (with_header({"a": entry(shape=[True])}, bytes(4)), "no shape"),
    "an odd type": (with_header({"a": entry(dtype="F128")}, bytes(4)), "unknown type"),
    "a type of lists": (with_header({"a": entry(dtype=[])}, bytes(4)), "unknown type"),
    "another key": (with_header({"a": {**entry(), "more": 1}}, bytes(4)), "no type, shape"),
    "no texts": (with_header({"__metadata__": {"a": 1}}), "no texts"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_found(name, tmp_path):
    data, what = FAULTS[name]
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(Fault, match=what):
        Container(tmp_path / "x")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no pipes")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x")
    with pytest.raises(Fault, match="a pipe or a device"):
        Container(tmp_path / "x")


@pytest.mark.parametrize("use", [Container, lambda path: write_container(path, {}, {})])
def test_what_is_no_path_of_a_file_is_refused(use, tmp_path):
    for wrong in (3, None, True, io.BytesIO()):
        with pytest.raises(TypeError, match=r"Got path=.*, but expected the path of a file"):
            use(wrong)
    for wrong in ("", "a\0b", "a\ud800b"):
        with pytest.raises(ValueError, match=r"Got path='.*', but expected the path of a file"):
            use(wrong)
    with pytest.raises(IsADirectoryError, match=re.escape(str(tmp_path))):
        use(tmp_path)


def test_a_path_of_bytes_is_one(tmp_path):
    path = os.fsencode(tmp_path / "x")
    write_container(path, {"a": np.ones(3)}, {})
    assert Container(path).read("a").tolist() == [1, 1, 1]


def test_truth_values_are_0_and_1():
    with pytest.raises(Fault, match="other than 0 and 1"):
        as_truth(np.array([0, 2], dtype=np.uint8).view(np.bool_), "a")


def test_json_may_have_more_values_in_larger_files():
    data = '{"a": [' + "1," * 150_000 + "1]}"
    with pytest.raises(Fault, match="values in its text"):
        parse_json(data, len(data), "text")
    assert len(parse_json(data, 10 * len(data), "text")["a"]) == 150_001


def test_digests_are_of_the_bytes():
    array = np.arange(12.0).reshape(3, 4)
    one = digest_of(iter_bytes(array))
    assert one == digest_of([array.tobytes()])
    assert one == digest_of(iter_bytes(np.asfortranarray(array)))
    assert one != digest_of(iter_bytes(array.T))


def test_killed_while_writing_leaves_what_is_swept(tmp_path):
    """Safetensors writes under a name of its own first."""
    script = (
        "import os, sys, numpy as np\n"
        "from skensemble._persistence import container\n"
        "container.os.fsync = lambda file: os._exit(9)\n"
        "container.write_container(sys.argv[1], {'a': np.zeros(3)}, {})"
    )
    path = tmp_path / "x"
    write_container(path, {"a": np.ones(3)}, {})
    done = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert done.returncode == 9
    assert len(list(tmp_path.iterdir())) == 2
    assert Container(path).read("a").tolist() == [1, 1, 1]
    sweep(tmp_path, older_than=60)
    assert len(list(tmp_path.iterdir())) == 2
    sweep(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_files_may_be_read_by_those_who_may_read_any(tmp_path):
    (tmp_path / "plain").touch()
    write_container(tmp_path / "x", {"a": np.ones(3)}, {})
    assert (tmp_path / "x").stat().st_mode == (tmp_path / "plain").stat().st_mode
