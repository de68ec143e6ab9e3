"""Peak memory: bytes of tensors alive at once, counted exactly."""

import torch

from pyro_dgm.report.memory import peak_bytes

KB = 1000 * 4  # bytes of the rows below


def test_rows_that_are_let_go_do_not_add_up():
    def one_after_another():
        for _ in range(5):
            torch.zeros(1000)

    assert peak_bytes(one_after_another) == KB


def test_rows_that_are_kept_add_up_and_views_do_not():
    def kept():
        rows = [torch.zeros(1000) for _ in range(5)]
        return [row.view(10, 100)[3] for row in rows]

    assert peak_bytes(kept) == 5 * KB


def test_what_autograd_keeps_for_the_backward_pass_counts():
    x = torch.zeros(1000, requires_grad=True)

    def with_graph():
        return x.exp().exp().exp()  # each result is kept for its own derivative

    def without():
        with torch.no_grad():
            return with_graph()

    assert (peak_bytes(with_graph), peak_bytes(without)) == (3 * KB, 2 * KB)
