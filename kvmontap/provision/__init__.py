"""What has to be done before a new pool can be used: found state and wanted state in, steps out."""
