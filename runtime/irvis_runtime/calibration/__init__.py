"""Where the infrared picture lies on the visible one: found, judged, shown and written into the rig file."""
