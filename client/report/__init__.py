"""The report: pure functions of results. `content` says what is in it, the other modules write it down."""
