"""Muon, against the singular value decomposition and torch's own."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from bbopt.metabo.nap.muon import Muon, orthogonal  # noqa: E402

SHAPES = [(12, 6), (6, 12), (8, 8), (12, 6)]


@pytest.mark.parametrize("shape", SHAPES[:3])
def test_directions_stay_and_lengths_become_alike(shape):
    matrices = torch.randn(5, *shape, generator=torch.Generator().manual_seed(0))
    u, s, vt = torch.linalg.svd(matrices, full_matrices=False)
    turned = u.mT @ orthogonal(matrices) @ vt.mT  # diagonal if U and V are kept
    lengths = turned.diagonal(dim1=1, dim2=2)
    torch.testing.assert_close(turned, torch.diag_embed(lengths), rtol=0, atol=1e-4)
    usual = lengths[s > 0.05 * s[:, :1]]
    assert 0.6 < float(usual.min()) <= float(usual.max()) < 1.3


def test_it_is_the_one_of_torch_in_higher_precision():
    draws = torch.Generator().manual_seed(1)
    ours, theirs = ([torch.nn.Parameter(torch.ones(shape)) for shape in SHAPES] for _ in range(2))
    one = Muon(ours, 0.01, 0.9, 0.1)
    other = torch.optim.Muon(
        theirs, lr=0.01, momentum=0.9, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"
    )
    for _ in range(10):
        for p, q in zip(ours, theirs, strict=True):
            p.grad = torch.randn(p.shape, generator=draws)
            q.grad = p.grad.clone()
        one.step()
        other.step()
    for p, q in zip(ours, theirs, strict=True):
        moved = float((q.detach() - 1).abs().max())
        torch.testing.assert_close(p, q, rtol=0, atol=0.02 * moved)  # bfloat16 has 8 bits


def test_what_has_no_gradient_stays():
    idle, moved = (torch.nn.Parameter(torch.ones(3, 3)) for _ in range(2))
    moved.grad = torch.eye(3)
    Muon([idle, moved], 0.1, 0.9, 0.5).step()
    assert torch.equal(idle, torch.ones(3, 3))
    assert not torch.equal(moved, torch.ones(3, 3))
