"""What the files say: models, where they are wrong, and what is chosen of them."""
