WORD = "from src"
