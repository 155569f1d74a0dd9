"""The page's tabs, a class each, named in `space/page.py`: `__init__` lays out, `wire` connects, methods handle."""
