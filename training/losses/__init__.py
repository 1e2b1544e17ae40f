"""Losses, one module each: `nn.Module`s on one global batch (methods cards 3, 4, 7, 8 and 9)."""
