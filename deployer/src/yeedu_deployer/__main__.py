"""Runs the deployer as `python -m yeedu_deployer`."""

from yeedu_deployer.cli import main

if __name__ == "__main__":
    main()
