"""Two cameras fused live: the loop, its command, its status."""
