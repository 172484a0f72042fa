"""Count the words of a text with a task, and show them as a table."""

from prefect import flow, task
from prefect.artifacts import create_table_artifact

from scripts.template_steps import count_words


@flow(name="template", log_prints=True)
def template(text: str = "to be or not to be") -> dict[str, int]:
    """Count the words of a text, and show them as a table.

    Args:
        text: The text.

    Returns:
        How often each word occurs, the most frequent first.

    Raises:
        ValueError: There is no word.
    """
    counts = count(text)
    create_table_artifact(
        key="template",
        table=[{"word": word, "times": times} for word, times in counts.items()],
        description="How often each word is there",
    )
    print(f"{sum(counts.values())} words, {len(counts)} different ones")
    return counts


@task(name="count-words")
def count(text: str) -> dict[str, int]:
    """Count the words; as a task, this can have its own retries, cache and state."""
    return count_words(text)


if __name__ == "__main__":
    template()
