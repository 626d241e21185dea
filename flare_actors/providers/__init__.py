"""Implementations of the ports, one engine or vendor a file.

``registry`` knows them by their short names, and ``provider`` is what a package of yours needs to add one.
"""
