"""Makes a site of the documentation that is read without a network; `make docs` runs it.

Zensical builds it, by the people of Material for MkDocs and in its place: MkDocs has had no release since
2024, and Material ends in 2027. The pages stay plain Markdown that GitHub shows, so that another builder may
follow.
"""
