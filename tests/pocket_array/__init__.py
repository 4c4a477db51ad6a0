"""The pocket array: an ONTAP REST subset over HTTPS, for tests. See README.md.

`judged_array` and `Judge` are in modules of their own (judged, judge): they need jsonschema.
"""

from .array import PocketArray
from .exchange import Exchange

__all__ = ["PocketArray", "Exchange"]
