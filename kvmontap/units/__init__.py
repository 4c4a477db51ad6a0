"""systemd units for the configured pools: pure functions from records to texts.

Imports the records only; the generator writes what comes out.
"""

from kvmontap.units.bundle import Bundle, bundle

__all__ = ["Bundle", "bundle"]
