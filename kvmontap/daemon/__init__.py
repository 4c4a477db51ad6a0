"""kvmontapd: answers the hook while it keeps Python, the configuration and the arrays' connections warm.

It never calls libvirt: a hook that waits for it holds a VM's lock.
"""
