"""`pytest tests/golden --regenerate` rewrites every expected.txt; the review is the diff."""


def pytest_addoption(parser):
    parser.addoption("--regenerate", action="store_true", help="rewrite the expected texts")
