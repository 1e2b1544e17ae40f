"""What can go wrong, in the user's words. Every message says what, where, and what to do next."""

from __future__ import annotations


class CastmineError(Exception):
    """Something castmine cannot go on with; the command ends with `exit_code` and this message, no stack trace."""

    exit_code = 1


class UsageError(CastmineError):
    """Wrong arguments or settings, found before anything starts."""

    exit_code = 2


class FilmError(CastmineError):
    """A film's own fault: it becomes a `failed` row of `titles`, and the other films go on."""


class ModelError(CastmineError):
    """A face model is missing, damaged, or not the one that was asked for."""


class GpuUnavailable(CastmineError):
    """`device: cuda` was asked for and no GPU answers. castmine never falls back to the CPU by itself."""


class LakeError(CastmineError):
    """The lake is missing, made by another version, or holds what the command cannot use."""


class TooLittleData(CastmineError):
    """A training snapshot is too small for its method. Recorded as `skipped` with this reason; no failure."""
