"""What a face set must tell about itself, a file a question.

`audit` asks for the sections in their order; each is a function of `section.Audited` in a file of its own, whose
mathematics stand beside it as plain functions. A new one: its file, and its line in `audit.SECTIONS`.
"""
