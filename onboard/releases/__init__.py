"""Releases of the runtime on a unit: taken, tried, proven, taken back.

``unit_paths``, ``journal``, ``course``, ``links``, ``guardian`` and :mod:`onboard.durable` need
nothing but the standard library: they lie outside of every release too, in ``/opt/wombet/boot``.
"""
