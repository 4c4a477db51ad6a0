"""The pocket array: an ONTAP REST subset over HTTPS, for tests. See README.md."""
from .array import PocketArray
from .exchange import Exchange

__all__ = ["PocketArray", "Exchange"]
