"""The smallest flow: print a message into the run's log."""

from prefect import flow


@flow(name="print-message", flow_run_name="print: {message!s:.60}", log_prints=True)
def print_message(message: str = "Hello from Yeedu on Prefect") -> str:
    """Print a message into the run's log.

    Args:
        message: What to print; a line break starts a new line in the same log entry.

    Returns:
        The message.
    """
    print(message)
    return message


if __name__ == "__main__":
    print_message()
