"""The whole conversation with the database: one function per statement, named for its purpose."""
