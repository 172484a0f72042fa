"""What worker, deployer and `attach` do with git, by the standard library alone.

`addresses` reads addresses and logins, `command` runs git, `reasons` turns what it says into a sentence, and
`remote` asks a repository for a revision and clones that.
"""
