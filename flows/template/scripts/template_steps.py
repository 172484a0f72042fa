"""The work itself, as plain functions that can be run and tested without Prefect."""

from collections import Counter


def count_words(text: str) -> dict[str, int]:
    """Count the words of a text, the most frequent first, ignoring case.

    Raises:
        ValueError: There is no word.
    """
    counts = Counter(text.lower().split())
    if not counts:
        raise ValueError("The text holds no word; give one in the parameter 'text'.")
    return dict(counts.most_common())
