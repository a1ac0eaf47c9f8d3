"""The decoders: pixels in place, fixed positions, seeds."""

import torch

from core.models.decoder import MaskedDecoder, PixelDecoder, build_decoder, sine_positions


def _decoder(tokens: str, *, grid: int = 3, patch: int = 4, seed: int = 0) -> PixelDecoder | MaskedDecoder:
    return build_decoder(12, tokens=tokens, decoder_width=16, depth=2, heads=2, grid=grid, patch=patch, seed=seed)


def test_each_token_becomes_its_own_patch() -> None:
    decoder = _decoder("all")
    assert isinstance(decoder, PixelDecoder)
    tokens = torch.rand(2, 9, 12)
    image = decoder(tokens)
    expected = decoder.head(tokens[1, 5]).reshape(4, 4)  # patch 5 of 3 x 3 is row 1, column 2
    torch.testing.assert_close(image[1, 0, 4:8, 8:12], expected)


def test_the_order_of_hidden_patches_does_not_matter() -> None:
    decoder = _decoder("visible")
    tokens = torch.rand(1, 4, 12)
    order = torch.tensor([[8, 1, 3, 0, 2, 4, 5, 6, 7]])
    other = torch.tensor([[8, 1, 3, 0, 7, 2, 6, 4, 5]])
    torch.testing.assert_close(decoder(tokens, order), decoder(tokens, other), rtol=1e-5, atol=1e-6)


def test_pixels_are_put_where_the_order_says() -> None:
    decoder = _decoder("visible")
    assert isinstance(decoder, MaskedDecoder)
    decoder.blocks = torch.nn.ModuleList()  # without attention each patch follows from its own token and position
    tokens, order = torch.rand(1, 4, 12), torch.tensor([[8, 1, 3, 0, 2, 4, 5, 6, 7]])
    image = decoder(tokens, order)
    third = decoder.head(decoder.norm(decoder.embed(tokens[0, 2]) + decoder.positions_NE[3])).reshape(4, 4)
    hidden = decoder.head(decoder.norm(decoder.mask_tokens.weight + decoder.positions_NE[7])).reshape(4, 4)
    torch.testing.assert_close(image[0, 0, 4:8, 0:4], third)
    torch.testing.assert_close(image[0, 0, 8:12, 4:8], hidden)


def test_positions_are_sines_of_row_and_column() -> None:
    positions = sine_positions(width=8, grid=3)
    assert positions.shape == (9, 8)
    # Patch 5 is row 1, column 2; frequencies 1 and 1/100.
    row, column = torch.tensor([1.0, 0.01]), torch.tensor([2.0, 0.02])
    torch.testing.assert_close(positions[5], torch.cat([row.sin(), row.cos(), column.sin(), column.cos()]))
    assert len(positions.unique(dim=0)) == 9


def test_seed_and_leaves() -> None:
    for tokens in ("all", "visible"):
        first, second, other = (_decoder(tokens, seed=seed) for seed in (0, 0, 1))
        assert torch.equal(first.head.weight, second.head.weight)
        assert not torch.equal(first.head.weight, other.head.weight)
        for module in first.modules():
            assert not (list(module.parameters(recurse=False)) and list(module.children()))
