"""Detectors that come with onepixel, one safetensors file each."""
