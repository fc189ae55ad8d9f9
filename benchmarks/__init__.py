"""Speed of the simulator: run by `make bench`, never by the tests."""
