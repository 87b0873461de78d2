"""One page that says what bench files hold: HTML and Markdown from the same tables."""
