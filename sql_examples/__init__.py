"""SQL for analysts: each file begins with one sentence that says what it answers."""
