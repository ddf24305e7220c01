"""One thread means one thread of every library that has several."""

import sklearn.ensemble  # noqa: F401  (brings OpenMP of its own)
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from onepixel.threads import one_thread


def test_every_library_uses_one_thread_and_then_as_many_as_before():
    torch_before = torch.get_num_threads()
    try:
        with threadpool_limits(2):
            torch.set_num_threads(2)
            before = [library["num_threads"] for library in threadpool_info()]
            with one_thread():
                assert {library["num_threads"] for library in threadpool_info()} == {1}
                assert torch.get_num_threads() == 1
            assert [library["num_threads"] for library in threadpool_info()] == before
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(torch_before)
