"""The view of a panel in a notebook cell: look, narrow down, explain, paint, relaunch, compare.

`wire` says what the page may ask; `session` is the state of a view and answers, without a page; `explorer` is the
widget.
The page itself is TypeScript, in `front`, and comes as one bundle in `static`: Preact draws it, as a library of four
kilobytes with the components and hooks that readers of React know, and its signals follow the widget's traits as they
are; regl-scatterplot draws the map. Neither loads anything, and nobody who installs the package needs Node.
"""

from .exploring import annotate, explore

__all__ = ["annotate", "explore"]
