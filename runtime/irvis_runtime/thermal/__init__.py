"""What a thermal camera needs: its layout and counts, gain, shutter, temperatures and palettes."""
