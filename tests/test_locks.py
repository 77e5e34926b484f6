"""Locks that outlive a fork."""

import os
import threading

import pytest

from skensemble._locks import Turn


def test_one_thread_at_a_time_is_let_in_and_may_come_twice():
    turn, taken = Turn(), []

    def take():
        taken.append(turn.lock.acquire(timeout=0.05))

    with turn.taken(), turn.taken():
        thread = threading.Thread(target=take)
        thread.start()
        thread.join()
    with turn.taken():
        pass
    assert taken == [False]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of a fork beside threads
def test_a_forked_child_finds_it_free_and_leaves_the_block_of_its_parent():
    turn, is_taken, may_end = Turn(), threading.Event(), threading.Event()

    def hold():
        with turn.taken():
            is_taken.set()
            may_end.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    is_taken.wait()
    pid = os.fork()
    if pid == 0:
        os._exit(0 if turn.lock.acquire(timeout=5) else 1)
    may_end.set()
    thread.join()
    assert os.waitpid(pid, 0)[1] == 0
    with turn.taken():
        pid = os.fork()
    if pid == 0:  # without an error
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
