"""A live librarian for tests of any project: the pytest fixtures `librarian_site` and `site_factory`."""
