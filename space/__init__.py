"""The browser app. Layout and wiring only: everything it does is done by `idgen`.

`actions` is what the buttons do (no Gradio in it), `plots` and `view` turn results into SVG and HTML, `theme` is the
look, `app` puts them together.
"""
