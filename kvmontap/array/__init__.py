"""What the arrays say: a client for each, and the state of the volume, SVM and LIFs behind a pool.

netapp_ontap itself is imported only when an array is first asked.
"""

from kvmontap.array.client import Client, Clients
from kvmontap.array.errors import ArrayError
from kvmontap.array.state import VolumeLook, VolumeRef, look

__all__ = ["ArrayError", "Client", "Clients", "VolumeLook", "VolumeRef", "look"]
