"""Processes leave the others in order at their end, unless they failed: then nothing is waited for."""

import os
import sys

import pytest
import torch.distributed

from pyro_dgm.training import ranks


@pytest.fixture
def left(monkeypatch):
    done = []
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: not done)
    monkeypatch.setattr(torch.distributed, "destroy_process_group", lambda: done.append(True))
    monkeypatch.delattr(sys, "last_value", raising=False)
    return done


def test_a_process_leaves_once(left):
    ranks._leave(os.getpid())
    ranks._leave(os.getpid())
    assert left == [True]


def test_a_failed_process_and_a_copy_of_one_do_not(left, monkeypatch):
    ranks._leave(os.getpid() + 1)
    monkeypatch.setattr(sys, "last_value", ArithmeticError(), raising=False)
    ranks._leave(os.getpid())
    assert left == []
