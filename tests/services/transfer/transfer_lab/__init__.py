"""Stand-ins for the catalog and the store, and a rig that runs the transfer service against them."""
