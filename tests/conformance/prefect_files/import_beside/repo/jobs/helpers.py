WORD = "from beside"
