"""What the worker, the deployer and `attach` do with git, using only the standard library.

`addresses` reads addresses and logins, `command` runs git, `reasons` turns its errors into sentences, and
`remote` asks a repository for a revision and clones it.
"""
