"""The live page: a process beside the server that reads its run directory (ADR 18).

Plain functions turn files into view models and view models into charts; only ``site.py``,
``parts.py`` and the ``*_view.py`` know NiceGUI.
"""
