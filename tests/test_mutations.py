"""Files that were damaged or made up: each is refused, or predicts as the original does.

500 of them in every run; as many as SKENSEMBLE_MUTATIONS says where it is set. A failure names the
seed that makes the file again.
"""

import functools
import json
import os
import random
import signal
import struct
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from file_models import fitted
from safetensors.numpy import load_file
from test_foreign import renew_digests

import skensemble
from skensemble._persistence.container import FORMAT, Container, write_container
from skensemble._persistence.saving import content_digest
from skensemble._persistence.stored import PREFIX

N = int(os.environ.get("SKENSEMBLE_MUTATIONS", "500"))

#: Mutations of one test; several tests share the work of one process each.
BATCH = 50

#: Seconds that a file may take.
PATIENCE = 20

KINDS = {
    "labels_text": {},
    "frame_pandas": {"include": ("unseen", "training")},
    "regressor_several": {"include": ("unseen",)},
    "module_own": {"include": ("training",)},
    "module_instance": {},
}


@functools.cache
def original(name):
    """Return the bytes of a file, its texts and arrays, and what it predicts."""
    model, X, load = fitted(name)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        model.save(path, **KINDS[name])
        return path.read_bytes(), Container(path).texts, load_file(path), predictions(path, X, load)


def predictions(path, X, load):
    model = skensemble.load(path, **load)
    return model.predict(X), model.predict_members(X)


# ------------------------------------------------------------- bytes, whose digest is stale


def flip(rng, data):
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 3, 20])):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def flip_header(rng, data):
    data = bytearray(data)
    data[rng.randrange(8 + int.from_bytes(data[:8], "little"))] ^= 1 << rng.randrange(8)
    return bytes(data)


def cut(rng, data):
    return data[: rng.randrange(len(data))]


def grow(rng, data):
    return data + bytes(rng.randrange(1, 100))


def blank(rng, data):
    start = rng.randrange(len(data))
    n = min(len(data) - start, rng.randrange(1, 500))
    return data[:start] + bytes(n) + data[start + n :]


def shift(rng, data):
    start = rng.randrange(len(data))
    return data[:start] + bytes([rng.randrange(256)]) + data[start:]


def long_header(rng, data):
    return struct.pack("<Q", rng.choice([0, 1, 7, len(data), 1 << 40, (1 << 64) - 1])) + data[8:]


def with_header(change):
    """Make a mutation of one that changes the header's text."""

    def mutate(rng, data):
        n = int.from_bytes(data[:8], "little")
        header = change(rng, json.loads(data[8 : 8 + n]))
        header = header if isinstance(header, bytes) else json.dumps(header).encode()
        return struct.pack("<Q", len(header)) + header + data[8 + n :]

    return mutate


@with_header
def holes(rng, header):
    name = rng.choice([name for name in header if name != "__metadata__"])
    place = header[name]["data_offsets"]
    place[rng.randrange(2)] += rng.choice([-1, 1, 8, 1 << 40, -(1 << 40)])
    return header


@with_header
def overlap(rng, header):
    one, other = rng.sample([name for name in header if name != "__metadata__"], 2)
    header[one]["data_offsets"] = header[other]["data_offsets"]
    return header


@with_header
def odd_entry(rng, header):
    name = rng.choice([name for name in header if name != "__metadata__"])
    key = rng.choice(["dtype", "shape", "data_offsets"])
    header[name][key] = rng.choice(
        ["F128", "BF16", [1 << 62, 4], [-1], [2.5], None, {}, [[]], "", [True], [10**400]]
    )
    return header


@with_header
def twice(rng, header):
    text = json.dumps(header)
    name = rng.choice(list(header))
    return (text[:-1] + f", {json.dumps(name)}: {json.dumps(header[name])}}}").encode()


@with_header
def bomb(rng, header):
    n = rng.choice([10, 5_000, 200_000])
    inner = rng.choice(["[" * n, "[" * n + "]" * n, "[" + "[]," * n + "[]]", '{"a":' * n, "9" * n])
    where = rng.choice(["document", "tensor", "all"])
    if where == "document":
        header["__metadata__"]["document"] = inner
        return header
    if where == "tensor":
        return (json.dumps(header)[:-1] + f', "x": {inner}}}').encode()
    return inner.encode()


@with_header
def other_text(rng, header):
    texts = header["__metadata__"]
    key = rng.choice(list(texts))
    texts[key] = rng.choice(
        ["", "0", "2", "-1", "1.0", "١", "999999999", "x" * 100, texts[key] + " "]
    )
    return header


STALE = [
    flip, flip, flip_header, flip_header, cut, grow, blank, shift, long_header, holes, overlap,
    odd_entry, twice, bomb, other_text,
]  # fmt: skip


# ------------------------------------------------------------ content, with a right digest

ODD = [
    None, True, -1, 0, 1, 3, 10**6, 10**12, 1 << 62, 10**30, -1.5, 1e308, 5e-324, "", "x",
    "os.system",
    [], {}, [[]], [1, 2, 3], {"$": "float", "of": "nan"}, {"$": "float", "of": "inf"},
    {"$": "tuple", "of": []}, {"$": "tuple", "of": [1, 2]}, {"$": "name", "name": "os.system",
    "source": None}, {"$": "array", "at": "a0"}, {"$": "array", "at": "a1"}, {"$": "Intake"},
    {"$": "slice", "of": [0, 10**9, None]}, {"$": "array", "at": "nowhere"}, {"$": 3},
    {"$": "nothing"},
    {"$": "instance", "name": "subprocess.Popen", "source": None, "number": 1, "parts":
    {"parameters": {"args": "true"}}}, {"$": "range", "of": [0, 10**15, 1]}, {"$": "set",
    "of": [[]]},
    {"$": "int", "hex": "f" * 5000}, {"$": "again", "name": "x.y", "number": 0},
    {"$": "module", "name": "torch.nn.modules.linear.Linear", "source": None, "number": 9,
     "parts": {"vars": {}, "parametrized": []}},
    {"$": "name", "name": "torch.nn.modules.linear.Linear", "source": None},
    {"$": "name", "name": "torch.optim.sgd.SGD", "source": None},
    {"$": "instance", "name": "skorch.callbacks.training.Checkpoint", "source": None, "number": 8,
     "parts": {"parameters": {"dirname": "made-by-a-file"}}},
]  # fmt: skip


def places(tree):
    """Yield every place of a tree of JSON as its container and key."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, part in items:
        yield tree, key
        if isinstance(part, dict | list):
            yield from places(part)


def change_document(rng, document):
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        holder, key = rng.choice(list(places(document)))
        how = rng.randrange(6)
        if how == 0 and isinstance(holder, dict):
            del holder[key]
        elif how == 1:
            other, another = rng.choice(list(places(document)))
            holder[key] = json.loads(json.dumps(other[another]))
        elif how == 2 and type(holder[key]) in (int, float):
            holder[key] = holder[key] * rng.choice([-1, 2, 1000]) + rng.choice([0, 1, -1])
        elif how == 3 and isinstance(holder[key], list) and holder[key]:
            holder[key].append(json.loads(json.dumps(rng.choice(holder[key]))))
        elif how == 4 and isinstance(holder, list):
            del holder[key]
        else:
            holder[key] = json.loads(json.dumps(rng.choice(ODD)))


def change_array(rng, array):
    array = array.copy()
    how = rng.randrange(6)
    if how == 0 or not array.size:
        return array.reshape(-1)[: rng.randrange(array.size + 1)].copy()
    if how == 1:
        return array.astype(
            rng.choice([np.float32, np.float64, np.int64, np.int32, np.uint8, np.bool_])
        )
    if how == 2:
        return np.concatenate([array, array]) if array.ndim else array[None]
    flat, i = array.reshape(-1), rng.randrange(array.size)
    if array.dtype.kind == "f":
        flat[i] = rng.choice([np.nan, np.inf, -np.inf, 0.0, -1.0, 1e300, 5e-324, 7.0])
    elif array.dtype.kind == "b":
        flat[i] = ~flat[i]
    else:
        limits = np.iinfo(array.dtype)
        flat[i] = rng.choice([limits.max, limits.min, 0, 1, 255 if limits.max > 254 else 7])
    return array


def rewrite(rng, name, path):
    """Write a file of changed content whose digests are those of the content."""
    _, texts, arrays, _ = original(name)
    document, arrays = json.loads(texts["document"]), dict(arrays)
    for _ in range(rng.choice([1, 1, 2])):
        if rng.random() < 0.6:
            change_document(rng, document)
        else:
            key = rng.choice(list(arrays))
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                arrays[key] = change_array(rng, arrays[key])
    stacks = {k: v for k, v in arrays.items() if k.startswith(PREFIX)}
    own = {k: v for k, v in arrays.items() if k not in stacks}
    renew_digests(document, own, stacks)
    text = json.dumps(document)
    shapes = {k: (v.dtype.str, v.shape) for k, v in stacks.items()}
    digest = content_digest(text, own, shapes).hex()
    made = {"format": FORMAT, "format_version": "1", "document": text, "digest": digest}
    write_container(path, {**own, **stacks}, made)


# ---------------------------------------------------------------------------------- tests


class TooSlow(BaseException):
    pass


def _give_up(*_):
    raise TooSlow


@pytest.fixture
def _patient():
    before = signal.signal(signal.SIGALRM, _give_up)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def outcome(path, name):
    """Return what a file predicts, or the error that refuses it."""
    _, X, load = fitted(name)
    signal.alarm(PATIENCE)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return predictions(path, X, load)
    except ValueError as error:
        return error
    finally:
        signal.alarm(0)


@pytest.mark.usefixtures("_patient")
@pytest.mark.parametrize("batch", range(max(1, N // 2 // BATCH)))
def test_damaged_files_are_refused_or_predict_as_they_did(batch, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model"
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        rng = random.Random(seed)
        name = rng.choice(list(KINDS))
        data, _, _, before = original(name)
        changed = rng.choice(STALE)(rng, data)
        path.write_bytes(changed)
        found = outcome(path, name)
        if not isinstance(found, ValueError):
            assert all((a == b).all() for a, b in zip(found, before, strict=True)), seed
        elif changed != data:
            assert "Got " in str(found), seed
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


@pytest.mark.usefixtures("_patient")
@pytest.mark.parametrize("batch", range(max(1, N // 2 // BATCH)))
def test_made_up_files_are_refused_or_predict_something(batch, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model"
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        rng = random.Random(-seed - 1)
        name = rng.choice(list(KINDS))
        rewrite(rng, name, path)
        try:
            found = outcome(path, name)
        except BaseException as error:
            raise AssertionError(f"seed {seed} of {name}") from error
        if not isinstance(found, ValueError):
            assert np.isfinite(found[1]).all(), seed
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
