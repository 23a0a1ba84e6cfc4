"""The page that shows the workflow graph."""
