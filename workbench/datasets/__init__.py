"""Small data that ship with the workbench's dependencies, and loaders for the rest."""
