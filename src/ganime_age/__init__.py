"""ganime_age: one face photo in; the same person at another age and with another expression out."""

__version__ = "0.1.0"
