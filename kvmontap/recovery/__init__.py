"""When storage returns: mounts, pools and VMs that boot had to go without are brought up, and nothing that somebody has stopped."""
