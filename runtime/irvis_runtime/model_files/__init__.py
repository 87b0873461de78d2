"""What lies in a model directory, read by hand and with suspicion: before any library loads it."""
