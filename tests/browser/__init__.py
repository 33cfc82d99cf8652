"""Tests in a real browser. WHY a package: its conftest.py would otherwise be taken for that of tests/."""
