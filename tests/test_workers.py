"""Tasks in threads: in order, each with one intra-op thread, and all settings as before."""

import _thread
import contextvars
import multiprocessing
import os
import sys
import threading
import time
import types

import joblib
import pytest
import torch
from joblib import Parallel, delayed

from skensemble._nets.workers import in_threads, usable_cpus


def in_fresh_thread(call):
    out = []
    thread = threading.Thread(target=lambda: out.append(call()))
    thread.start()
    thread.join()
    return out[0]


@pytest.fixture
def many_cpus(monkeypatch, two_threads):
    monkeypatch.setattr(joblib, "cpu_count", lambda: 16)


@pytest.mark.parametrize("n_threads", [1, 2, 3, 9])
def test_results_stand_in_the_order_of_the_tasks(n_threads):
    tasks = [lambda i=i: (time.sleep(0.01 * (4 - i)), i)[1] for i in range(5 - 1)]
    assert in_threads(tasks, n_threads) == [0, 1, 2, 3]
    assert in_threads([], n_threads) == []


@pytest.mark.parametrize("n_threads", [2, 3])
def test_tasks_run_beside_each_other_in_so_many_threads(n_threads):
    met = threading.Barrier(n_threads)
    idents = in_threads([lambda: (met.wait(30), threading.get_ident())[1]] * n_threads, n_threads)
    assert len(set(idents)) == n_threads
    assert threading.get_ident() not in idents


def test_one_thread_is_the_callers_own():
    assert in_threads([threading.get_ident] * 2, 1) == [threading.get_ident()] * 2
    assert in_threads([threading.get_ident], 5) == [threading.get_ident()]


@pytest.mark.parametrize("n_threads", [1, 2])
def test_each_has_one_intra_op_thread_and_others_keep_theirs(two_threads, n_threads):
    """In torch a number that one thread sets is that of all threads to come."""
    seen = in_threads(
        [lambda: (torch.get_num_threads(), in_fresh_thread(torch.get_num_threads))] * 3, n_threads
    )
    assert seen == [(1, 2)] * 3
    assert torch.get_num_threads() == 2
    assert in_fresh_thread(torch.get_num_threads) == 2


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="only Linux lists threads")
@pytest.mark.parametrize("n_threads", [1, 2])
def test_no_product_of_a_task_starts_a_thread(two_threads, n_threads):
    """The number of threads of MKL's products is one of its own."""
    a, b = torch.randn(600, 600), torch.randn(8, 300, 300)
    product = lambda: (a @ a, torch.bmm(b, b), a.exp())  # noqa: E731
    started = in_threads([lambda: started_by(product)] * 2, n_threads)
    assert started == [0] * 2


def started_by(call):
    """Count the threads that are there after a call and were not before; tasks take turns."""
    with turn:
        before = set(os.listdir("/proc/self/task"))
        call()
        return len(set(os.listdir("/proc/self/task")) - before)


turn = threading.Lock()


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_the_first_error_is_raised_when_all_have_ended(two_threads, n_threads, error):
    ended = []

    def fail():
        raise error("this one")

    def end():
        time.sleep(0.05)
        ended.append(1)

    with pytest.raises(error, match="this one"):
        in_threads([end, fail, end, end, end, end], n_threads)
    assert 1 <= len(ended) <= 3  # what had begun has ended, and no more has begun
    time.sleep(0.1)
    assert len(ended) <= 3
    assert torch.get_num_threads() == in_fresh_thread(torch.get_num_threads) == 2


def test_ctrl_c_reaches_the_caller_when_what_had_begun_has_ended(two_threads):
    ended, started = [], threading.Event()

    def task():
        started.set()
        time.sleep(0.2)
        ended.append(1)

    def interrupt():
        started.wait()
        _thread.interrupt_main()

    before = threading.active_count()
    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        in_threads([task] * 50, 2)
    n = len(ended)
    time.sleep(0.3)
    assert 1 <= n == len(ended) <= 4
    assert threading.active_count() == before
    assert torch.get_num_threads() == in_fresh_thread(torch.get_num_threads) == 2


def test_tasks_see_the_callers_context():
    name = contextvars.ContextVar("name", default="none")
    name.set("caller")
    assert in_threads([name.get] * 3, 2) == ["caller"] * 3


def test_callers_in_several_threads_do_not_mix_their_settings(two_threads):
    def call(_):
        return in_threads([torch.get_num_threads] * 2, 2), torch.get_num_threads()

    for _ in range(20):
        fresh = in_threads([lambda: in_fresh_thread(lambda: call(0))] * 4, 4)
        assert fresh == [([1, 1], 2)] * 4
    assert torch.get_num_threads() == 2


def test_usable_cpus_are_what_torch_is_set_to_and_the_machine_has(monkeypatch, many_cpus):
    torch.set_num_threads(5)
    assert usable_cpus() == 5
    monkeypatch.setattr(joblib, "cpu_count", lambda: 3)
    assert usable_cpus() == 3
    torch.set_num_threads(1)
    assert usable_cpus() == 1


def test_a_worker_of_joblib_uses_one(many_cpus):
    with joblib.parallel_config("threading"):
        assert Parallel(2)(delayed(usable_cpus)() for _ in range(2)) == [1, 1]
    assert Parallel(1)(delayed(usable_cpus)() for _ in range(2)) == [2, 2]


def test_a_task_of_ours_uses_one(many_cpus):
    assert in_threads([usable_cpus] * 2, 2) == [1, 1]
    assert in_threads([usable_cpus] * 2, 1) == [1, 1]
    assert usable_cpus() == 2


def test_a_task_of_dask_uses_one(monkeypatch, many_cpus):
    def get_worker():
        if not is_in_worker:
            raise ValueError("No worker found")

    monkeypatch.setitem(sys.modules, "distributed", types.SimpleNamespace(get_worker=get_worker))
    is_in_worker = True
    assert usable_cpus() == 1
    is_in_worker = False
    assert usable_cpus() == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_uses_one(many_cpus):
    in_threads([torch.get_num_threads] * 2, 2)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply_async(usable_cpus).get(timeout=30) == 1
        got = pool.apply_async(in_threads, ([torch.get_num_threads] * 2, 2)).get(timeout=30)
    assert got == [1, 1]
