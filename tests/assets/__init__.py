"""Generated video clips with known content, for the tests."""
