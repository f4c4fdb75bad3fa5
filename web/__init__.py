"""The pages and the HTTP API: who asks, what is asked, one answer."""
