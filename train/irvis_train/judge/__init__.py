"""Judges models beside the published checkpoint: likeness, flicker, seams, robustness, metrics, speed."""
