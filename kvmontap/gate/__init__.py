"""The gate: may this VM start or arrive here now?  Docstring only, so that the hook pays nothing for it."""
