"""Losses, one module each: `nn.Module`s on one global batch (methods cards 3 and 4)."""
