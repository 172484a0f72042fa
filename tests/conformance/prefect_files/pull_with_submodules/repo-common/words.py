WORD = "of the submodule"
