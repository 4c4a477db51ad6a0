"""What this host says about its storage: its mounts, whether they answer, and which pools a domain touches."""
