"""Run the command line as ``python -m toy_gpt_train``."""

from toy_gpt_train.cli import entry

if __name__ == "__main__":
    entry()
