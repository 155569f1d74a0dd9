"""The browser app. Layout and wiring only: everything it does is done by `idgen`.

`actions` is what the buttons do (no Gradio in it), `view` turns results into HTML and SVG, `tabs` and `page` are what
is where, `app` puts it together.
"""
