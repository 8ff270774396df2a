"""The native modules, or one line that says what to do where they cannot be loaded.

Everything that needs one imports it from here.
"""

from __future__ import annotations

from tcnn_codec.errors import BackendUnavailable

try:
    from tcnn_codec import _coders, _cpu
except ImportError as error:
    raise BackendUnavailable(
        f"the native modules of tcnn_codec cannot be loaded ({error})",
        remedy="rebuild them with `pip install -e .`",
    ) from error

__all__ = ["_coders", "_cpu"]
