"""Pixels in, pixels out: photos, clips, face detectors and the aligned frame."""
