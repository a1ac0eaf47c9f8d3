"""Pooling by attention, and what the linear head reads."""

import torch

from core.models.heads.classify import AttentiveHead, AttentivePool, LinearHead


def test_the_pool_weighs_tokens_by_their_match_with_the_query() -> None:
    pool = AttentivePool(2, inside=2, heads=1)
    with torch.no_grad():
        pool.query.weight.copy_(torch.tensor([[2.0**0.5, 0.0]]))
        for layer in (pool.key, pool.value, pool.proj):
            layer.weight.copy_(torch.eye(2))
        pool.value.bias.zero_()
        pool.proj.bias.zero_()
    tokens = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    weights = torch.tensor([1.0, 0.0]).softmax(dim=0)  # query times key over the root of two channels
    torch.testing.assert_close(pool(tokens), weights[None])


def test_an_untrained_pool_is_nearly_the_mean() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pool, tokens = AttentivePool(16, inside=16, heads=4), torch.randn(2, 9, 16)
    mean = pool.proj(pool.value(tokens).mean(dim=1))
    torch.testing.assert_close(pool(tokens), mean, rtol=0, atol=0.02)


def test_no_head_reads_the_class_token() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tokens, heads = torch.randn(2, 5, 8), (LinearHead(8, classes=2), AttentiveHead(8, heads=2, classes=2))
    other = tokens.clone()
    other[:, 0] = 7.0
    for head in heads:
        assert torch.equal(head([tokens], tokens), head([other], other))


def test_attention_heads_divide_the_width_inside() -> None:
    head = AttentiveHead(12, heads=6, classes=2, inside=8)
    assert head.pool.heads == 2  # the largest that divides 8 and 6
    assert head.pool.value.out_features == 8
