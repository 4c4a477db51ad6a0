"""A real libvirtd with the real hook, in namespaces of its own: nothing is installed on the machine that runs the tests."""
