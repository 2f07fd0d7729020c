from store_svc.tables import metadata
from svckit.migrations import run_env

run_env(metadata)
