"""`irvis fuse`: pictures, folders and videos."""
