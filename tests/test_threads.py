"""One thread means one thread of every library that has several."""

import pytest
import sklearn.ensemble  # noqa: F401  (brings OpenMP of its own)
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from onepixel.threads import one_thread


def test_every_library_uses_one_thread_and_then_as_many_as_before():
    with threadpool_limits(2):
        before = [library["num_threads"] for library in threadpool_info()]
        if max(before, default=1) < 2:
            pytest.skip("No library here can use two threads.")
        torch_before = torch.get_num_threads()
        with one_thread():
            assert {library["num_threads"] for library in threadpool_info()} == {1}
            assert torch.get_num_threads() == 1
        assert [library["num_threads"] for library in threadpool_info()] == before
        assert torch.get_num_threads() == torch_before
