"""Losses, one module each: `nn.Module`s on one global batch."""
