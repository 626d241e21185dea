"""Implementations of the ports, one engine or vendor a file; ``registry`` knows them by their short names."""
