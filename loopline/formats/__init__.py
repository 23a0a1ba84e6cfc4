"""Labels in other tools' formats, read and written as streams."""
