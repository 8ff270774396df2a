"""The native module of the CPU, or one line that says what to do where it cannot be loaded.

Everything that needs it imports it from here.
"""

from __future__ import annotations

from tcnn_codec.errors import BackendUnavailable

try:
    from tcnn_codec import _cpu
except ImportError as error:
    raise BackendUnavailable(
        f"the native module tcnn_codec._cpu cannot be loaded ({error}); "
        "rebuild it with `pip install -e .`"
    ) from error

__all__ = ["_cpu"]
