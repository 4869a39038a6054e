"""The operator's command line: what the admin routes do, and what must work before there is an admin."""
