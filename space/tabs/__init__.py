"""The page's tabs, a class each: `__init__` lays it out, `wire` says what happens on a click, handlers are methods.

`space/page.py` puts them on the page: a new tab is named there.
"""
