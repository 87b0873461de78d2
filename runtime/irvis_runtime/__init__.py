"""irvis on the device: two pictures in, one fused picture out."""

__version__ = "0.1.0"
