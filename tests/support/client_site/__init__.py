"""A site in this process, for tests of the client: the services' contracts over memory and a directory,
with breaks at will. It keeps promises only as far as the client can see.
"""

from support.client_site.site import ClientSite

__all__ = ["ClientSite"]
